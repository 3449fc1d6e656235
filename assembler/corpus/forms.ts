/**
 * Writes out instructions of every form iced-x86 knows, as NASM text: the corpus whose bytes are
 * compared with nasm's. `AVX` decides whether the vector families are among them.
 */
import { Code, CodeExt, EncodingKind, MemorySizeExt, Mnemonic, OpCodeOperandKind } from 'iced-x86';

type Bits = 16 | 32 | 64;

const MEMORY: Record<Bits, readonly string[]> = {
  16: ['[bx+si+5]', '[bp]', '[0x1234]'],
  32: ['[eax]', '[ecx*4+esp+0x12345]', '[ebp-8]'],
  64: ['[rax]', '[r12+r13*8-0x10]', '[rsp+0x1000]'],
};

const REGISTERS: Record<string, readonly string[]> = {
  r8: ['al', 'cl', 'bh'],
  r16: ['ax', 'bx'],
  r32: ['eax', 'ebx'],
  r64: ['rax', 'r12'],
  mm: ['mm1'],
  xmm: ['xmm1', 'xmm2'],
  ymm: ['ymm1'],
  zmm: ['zmm1'],
  k: ['k1'],
  seg: ['ds', 'fs'],
  cr: ['cr0', 'cr3'],
  dr: ['dr7'],
  tr: ['tr3'],
  bnd: ['bnd1'],
  tmm: ['tmm1'],
};

const SIZES: Record<number, string> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  64: 'qword',
  80: 'tword',
  128: 'oword',
  256: 'yword',
  512: 'zword',
};

const FIXED: Record<string, readonly string[]> = {
  st0: ['st0'],
  sti_opcode: ['st1', 'st3'],
  mem_offs: ['[0x1234]'],
  imm8_const_1: ['1'],
  imm8: ['5', '0x80', '-1'],
  imm16: ['5', '0x1234', 'word 9'],
  imm32: ['5', '0x12345678', '128'],
  imm8sex16: ['5', '-3', '127', '-128'],
  imm8sex32: ['5', 'byte 7', '-128'],
  imm8sex64: ['5', 'byte 7', '-128'],
  imm32sex64: ['5', '0x12345678', '-129'],
  imm64: ['5', '0x123456789abcdef0', '-2', '0xffffffff', '0x80000000'],
  br16_1: ['short $+5', '$+10'],
  br32_1: ['short $+5', '$+10'],
  br64_1: ['short $+5', '$+10'],
  br16_2: ['$+0x1000'],
  br32_4: ['$+0x1000', 'near $+9'],
  br64_4: ['$+0x1000', 'near $+9'],
  farbr2_2: ['word 0x10:0x1234'],
  farbr4_2: ['dword 0x10:0x12345678'],
};

const HIDDEN = /^(seg_rSI|es_rDI|seg_rDI|seg_rBX_al)$/;

/** The instructions of a mode, without repetitions; of each form at most so many. */
export function corpusOf(bits: Bits, vectors: boolean, mostAForm: number): readonly string[] {
  const lines = new Set<string>();
  for (let code = 1; Code[code] !== undefined; code++) {
    const form = CodeExt.opCode(code);
    const legal = bits === 16 ? form.mode16 : bits === 32 ? form.mode32 : form.mode64;
    const wanted =
      form.encoding === EncodingKind.Legacy || (vectors && form.encoding <= EncodingKind.EVEX);
    if (form.isInstruction && legal && wanted) {
      const kinds = Array.from(
        { length: form.opCount },
        (_, i) => OpCodeOperandKind[form.opKind(i)] ?? '',
      );
      const hides = kinds.some((kind) => HIDDEN.test(kind));
      const size = SIZES[MemorySizeExt.size(form.memorySize) * 8] ?? '';
      const choices = kinds
        .filter((kind) => !(hides && (HIDDEN.test(kind) || /^(al|[er]?ax|dx)$/.test(kind))))
        .map((kind) => choicesOf(kind, bits, size));
      const name = (Mnemonic[form.mnemonic] ?? '').toLowerCase();
      for (const line of combine(choices, mostAForm))
        lines.add(`${name} ${line.join(', ')}`.trim());
    }
    form.free();
  }
  return [...lines];
}

function choicesOf(kind: string, bits: Bits, size: string): readonly string[] {
  const memory = MEMORY[bits].map((text, i) => (i === 1 ? text : `${size} ${text}`.trim()));
  if (/^(mem|mem_mpx|mem_mib|sibmem)$/.test(kind)) return memory;
  const fixed = FIXED[kind];
  if (fixed !== undefined) return fixed;
  if (/^([ecsdfg]s|al|cl|dx|[er]?ax)$/.test(kind)) return [kind];
  const match = /^(r\d+|mm|xmm|ymm|zmm|k|seg|cr|dr|tr|bnd|tmm)(?:p[13])?_(.*)$/.exec(kind);
  const registers = REGISTERS[match?.[1] ?? ''] ?? [];
  return match?.[2]?.startsWith('or_mem') === true ? [...registers, ...memory] : registers;
}

function combine(
  choices: readonly (readonly string[])[],
  most: number,
): readonly (readonly string[])[] {
  let lines: (readonly string[])[] = [[]];
  for (const choice of choices)
    lines = lines.flatMap((line) => choice.map((one) => [...line, one]));
  const step = Math.max(1, Math.ceil(lines.length / most));
  return lines.filter((_, i) => i % step === 0);
}
