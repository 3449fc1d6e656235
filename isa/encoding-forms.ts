/**
 * The encodable forms of each mnemonic, read from iced-x86's table of opcodes and indexed by the
 * name NASM uses. The index of mnemonics is built at first use; the forms of a mnemonic, when that
 * mnemonic is first asked for.
 */
import {
  Code,
  CodeExt,
  EncodingKind,
  MandatoryPrefix,
  MemorySizeExt,
  Mnemonic,
  OpCodeOperandKind,
} from 'iced-x86';

/** How an operand is spelled and where it is encoded; the names are iced's operand kinds. */
export type OperandForm = keyof typeof OpCodeOperandKind;

export interface EncodingForm {
  /** iced's name of the code, `Add_rm32_imm8`. */
  readonly name: string;
  /** The form in the words of the SDM, `ADD r/m32, imm8`. */
  readonly text: string;
  readonly encoding: 'legacy' | 'vex' | 'evex' | 'xop' | '3dnow';
  readonly operands: readonly OperandForm[];
  /** 16, 32, 64, or 0 if the operand size does not matter. */
  readonly operandSize: number;
  readonly addressSize: number;
  /** In 64-bit mode the operand size is 64 without REX.W. */
  readonly defaultSize64: boolean;
  readonly opcode: number;
  readonly opcodeBytes: number;
  /** 0 one-byte map, 1 `0F`, 2 `0F38`, 3 `0F3A`, 5, 6: EVEX maps; 8, 9, 10: XOP maps. */
  readonly map: number;
  /** 0x66, 0xf3, 0xf2 or 0. */
  readonly mandatoryPrefix: number;
  /** ModRM.reg fixed by the opcode, or -1. */
  readonly group: number;
  /** ModRM.rm fixed by the opcode, or -1. */
  readonly rmGroup: number;
  readonly w: number;
  readonly vectorLength: number;
  readonly lengthIgnored: boolean;
  readonly tupleType: number;
  /** Width of the memory operand in bits; 0 if it has none that NASM names. */
  readonly memoryBits: number;
  readonly broadcastBits: number;
  readonly modes: { readonly 16: boolean; readonly 32: boolean; readonly 64: boolean };
  readonly waits: boolean;
  readonly lockable: boolean;
  readonly maskable: boolean;
  readonly zeroable: boolean;
  readonly roundable: boolean;
  readonly suppressible: boolean;
}

/** NASM's names for instructions that iced knows under another. */
const CONDITIONS: readonly (readonly [string, readonly string[]])[] = [
  ['b', ['c', 'nae']],
  ['ae', ['nb', 'nc']],
  ['e', ['z']],
  ['ne', ['nz']],
  ['be', ['na']],
  ['a', ['nbe']],
  ['p', ['pe']],
  ['np', ['po']],
  ['l', ['nge']],
  ['ge', ['nl']],
  ['le', ['ng']],
  ['g', ['nle']],
];

const ALIASES: ReadonlyMap<string, string> = new Map([
  ...CONDITIONS.flatMap(([name, others]) =>
    others.flatMap((other): [string, string][] =>
      ['j', 'set', 'cmov'].map((stem) => [stem + other, stem + name]),
    ),
  ),
  ['sal', 'shl'],
  ['loopz', 'loope'],
  ['loopnz', 'loopne'],
  ['xlat', 'xlatb'],
  ['fwait', 'wait'],
  ['int03', 'int3'],
  ['int01', 'int1'],
  ['icebp', 'int1'],
  ['ud2a', 'ud2'],
  ['ud2b', 'ud1'],
  ['retn', 'ret'],
  ['vldqqu', 'vlddqu'],
  ['vmovntqq', 'vmovntdq'],
  ['vmovqqa', 'vmovdqa'],
  ['vmovqqu', 'vmovdqu'],
]);

/** Names that fix the operand size of an instruction iced lists in several sizes. */
const SIZED: ReadonlyMap<string, readonly [string, number]> = new Map([
  ['iretw', ['iret', 16]],
  ['pushaw', ['pusha', 16]],
  ['popaw', ['popa', 16]],
  ['pushfw', ['pushf', 16]],
  ['popfw', ['popf', 16]],
  ...(['w', 'd', 'q'] as const).flatMap((suffix, i): [string, [string, number]][] => [
    [`ret${suffix}`, ['ret', 16 << i]],
    [`retn${suffix}`, ['ret', 16 << i]],
    [`retf${suffix}`, ['retf', 16 << i]],
  ]),
]);

/** Families iced splits by size, and NASM's plain name chooses by the mode. */
const MODE_SIZED: ReadonlyMap<string, readonly string[]> = new Map([
  ['iret', ['iret', 'iretd', 'iretq']],
  ['pusha', ['pusha', 'pushad']],
  ['popa', ['popa', 'popad']],
  ['pushf', ['pushf', 'pushfd', 'pushfq']],
  ['popf', ['popf', 'popfd', 'popfq']],
]);

const ENCODINGS: Record<EncodingKind, EncodingForm['encoding'] | undefined> = {
  [EncodingKind.Legacy]: 'legacy',
  [EncodingKind.VEX]: 'vex',
  [EncodingKind.EVEX]: 'evex',
  [EncodingKind.XOP]: 'xop',
  [EncodingKind.D3NOW]: '3dnow',
  [EncodingKind.MVEX]: undefined,
};

const MAPS = [0, 1, 2, 3, 5, 6, 8, 9, 10];

const PREFIXES: Record<MandatoryPrefix, number> = {
  [MandatoryPrefix.None]: 0,
  [MandatoryPrefix.PNP]: 0,
  [MandatoryPrefix.P66]: 0x66,
  [MandatoryPrefix.PF3]: 0xf3,
  [MandatoryPrefix.PF2]: 0xf2,
};

/** Form tables, built once and only read afterwards; a cache of pure functions. */
const cache: {
  codes?: Map<string, number[]>;
  readonly forms: Map<string, readonly EncodingForm[]>;
} = { forms: new Map() };

/** All forms of the mnemonic (lower case, NASM's spelling), in iced's order; empty if unknown. */
export function formsOf(mnemonic: string): readonly EncodingForm[] {
  const known = cache.forms.get(mnemonic);
  if (known !== undefined) return known;
  const built = buildForms(mnemonic);
  cache.forms.set(mnemonic, built);
  return built;
}

/** True if the name is an instruction of any mode. */
export function isMnemonic(name: string): boolean {
  return codesByMnemonic().has(canonicalName(name));
}

/** Every mnemonic an instruction can be written with, in lower case. */
export function mnemonics(): readonly string[] {
  return [...codesByMnemonic().keys(), ...ALIASES.keys(), ...SIZED.keys()];
}

function canonicalName(name: string): string {
  return ALIASES.get(name) ?? SIZED.get(name)?.[0] ?? name;
}

function buildForms(mnemonic: string): readonly EncodingForm[] {
  const sized = SIZED.get(mnemonic);
  const canonical = canonicalName(mnemonic);
  const names = sized === undefined ? (MODE_SIZED.get(canonical) ?? [canonical]) : [canonical];
  return names
    .flatMap((name) => codesByMnemonic().get(name) ?? [])
    .map(readForm)
    .filter((form) => form !== undefined)
    .filter((form) => sized === undefined || form.operandSize === sized[1]);
}

function codesByMnemonic(): Map<string, number[]> {
  if (cache.codes !== undefined) return cache.codes;
  const codes = new Map<string, number[]>();
  for (let code = 1; Code[code] !== undefined; code++) {
    const opCode = CodeExt.opCode(code);
    if (opCode.isInstruction && Code[code]?.startsWith('VEX_KNC') !== true) {
      const name = (Mnemonic[opCode.mnemonic] ?? '').toLowerCase();
      const list = codes.get(name);
      if (list === undefined) codes.set(name, [code]);
      else list.push(code);
    }
    opCode.free();
  }
  cache.codes = codes;
  return codes;
}

function readForm(code: number): EncodingForm | undefined {
  const opCode = CodeExt.opCode(code);
  const encoding = ENCODINGS[opCode.encoding];
  const operands = Array.from(
    { length: opCode.opCount },
    (_, i) => OpCodeOperandKind[opCode.opKind(i)] as OperandForm,
  );
  const form: EncodingForm | undefined =
    encoding === undefined
      ? undefined
      : {
          name: Code[code] ?? '',
          text: opCode.instructionString,
          encoding,
          operands,
          operandSize: opCode.operandSize,
          addressSize: opCode.addressSize,
          defaultSize64: opCode.defaultOpSize64 || opCode.forceOpSize64,
          opcode: opCode.opCode,
          opcodeBytes: opCode.opCodeLength,
          map: MAPS[opCode.table] ?? 0,
          mandatoryPrefix: PREFIXES[opCode.mandatoryPrefix],
          group: opCode.groupIndex,
          rmGroup: opCode.rmGroupIndex,
          w: opCode.W,
          vectorLength: opCode.L,
          lengthIgnored: opCode.isLIG,
          tupleType: opCode.tupleType,
          memoryBits: MemorySizeExt.size(opCode.memorySize) * 8,
          broadcastBits: opCode.canBroadcast
            ? MemorySizeExt.elementSize(opCode.broadcastMemorySize) * 8
            : 0,
          modes: { 16: opCode.mode16, 32: opCode.mode32, 64: opCode.mode64 },
          waits: opCode.fwait,
          lockable: opCode.canUseLockPrefix,
          maskable: opCode.canUseOpMaskRegister,
          zeroable: opCode.canUseZeroingMasking,
          roundable: opCode.canUseRoundingControl,
          suppressible: opCode.canSuppressAllExceptions,
        };
  opCode.free();
  return form;
}
