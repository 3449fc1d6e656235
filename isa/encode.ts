/**
 * Instruction to bytes: finds the forms whose operand kinds take the operands, chooses the one NASM
 * chooses, and writes it. The forms come from iced-x86 (`encoding-forms.ts`); only NASM's order of
 * preference is stated here.
 */
import type { Encoded, PlacedOperand, Prefixes } from './encoding-bytes.ts';
import { EncodeFailure, needsOperandPrefix, writeForm } from './encoding-bytes.ts';
import type { EncodingForm, OperandForm } from './encoding-forms.ts';
import { formsOf } from './encoding-forms.ts';
import type { EncodeOperand, ImmediateOperand, MemoryOperand } from './encoding-operands.ts';
import { ruleOf } from './encoding-operands.ts';
import type { NamedRegister } from './encoding-registers.ts';
import { registersByName } from './encoding-registers.ts';

export interface EncodeRequest {
  readonly mnemonic: string;
  readonly operands: readonly EncodeOperand[];
  readonly prefixes: Prefixes;
  readonly bits: 16 | 32 | 64;
  /** Where the instruction stands, for the choice of short jumps. */
  readonly here: { readonly segment: object | undefined; readonly offset: bigint };
}

export type EncodeResult =
  | ({ readonly form: EncodingForm; readonly warning?: string } & Encoded)
  | { readonly error: string };

/** A request in one of its shapes, with the operands as written beside. */
interface Shaped extends EncodeRequest {
  readonly written: readonly EncodeOperand[];
}

interface Candidate {
  readonly form: EncodingForm;
  readonly placed: readonly PlacedOperand[];
  readonly order: number;
}

/** Encodes one instruction; the fields of its operands' values are left zero, for the caller. */
export function encode(request: EncodeRequest): EncodeResult {
  const { mnemonic, bits } = request;
  if (request.operands.length === 0 && /^f(add|mul|subr?|divr?)$/.test(mnemonic)) {
    return encode({ ...request, mnemonic: `${mnemonic}p` });
  }
  const forms = formsOf(mnemonic);
  if (forms.length === 0) return { error: `\`${mnemonic}\` is not an instruction.` };
  try {
    return choose(request, forms, bits);
  } catch (failure) {
    if (failure instanceof EncodeFailure) return { error: failure.message };
    throw failure;
  }
}

function choose(
  request: EncodeRequest,
  forms: readonly EncodingForm[],
  bits: 16 | 32 | 64,
): EncodeResult {
  const addressBits = addressBitsOf(request);
  const shapes = shapesOf(request);
  for (const operands of shapes) {
    const shaped = { ...request, operands, written: request.operands };
    const legal: Candidate[] = [];
    for (const [order, form] of forms.entries()) {
      if (!form.modes[bits]) continue;
      const placed = place(form, shaped, operands, request.operands, addressBits);
      if (placed !== undefined) legal.push({ form, placed, order });
    }
    if (legal.length === 0) continue;
    const sized = resolveMemorySize(legal, shaped);
    if ('error' in sized) return sized;
    const best = sized.reduce((a, b) => (compare(a, b, shaped) <= 0 ? a : b));
    const { form, placed } = best;
    const address = form.addressSize === 0 ? addressBits : form.addressSize;
    const encoded = writeForm(
      form,
      placed,
      request.prefixes,
      bits,
      address,
      keepsSize(form, operands),
    );
    return { form, ...encoded };
  }
  return { error: describeMismatch(request, forms) };
}

/** Instructions with fixed registers, which NASM lets one write. */
const IMPLICIT =
  /^(invlpga|clzero|vmrun|vmload|vmsave|monitorx?|mwaitx?|skinit|rdpru|montmul|xcrypt\w+)$/;

/** The operands as written, then with what NASM lets one leave out or swap. */
function shapesOf({ mnemonic, operands }: EncodeRequest): readonly (readonly EncodeOperand[])[] {
  const [first, second, third] = operands;
  const shapes: (readonly EncodeOperand[])[] = [];
  const bothRegisters = first?.kind === 'register' && second?.kind === 'register';
  if (mnemonic === 'xchg' && bothRegisters) {
    // NASM puts the first register into ModRM.reg; with the accumulator the short form wins.
    const isAccumulator = (one: NamedRegister) => one.number === 0 && !one.class.startsWith('r8');
    const swapped = [second, first];
    const short = isAccumulator(second.register) && !isAccumulator(first.register);
    shapes.push(...(short ? [operands, swapped] : [swapped]));
  }
  if ((mnemonic === 'xchg' || mnemonic === 'test') && second?.kind === 'memory' && first) {
    shapes.push([second, first]);
  }
  if (mnemonic === 'mov' && first !== undefined && second?.kind === 'immediate') {
    const narrow = narrowMove(first, second);
    if (narrow !== undefined) shapes.push([narrow, second]);
  }
  if (mnemonic.startsWith('f')) shapes.push(...floatShapes(mnemonic, operands));
  shapes.push(operands);
  if (mnemonic === 'imul' && operands.length === 2 && first && second?.kind === 'immediate') {
    shapes.push([first, first, second]);
  }
  if (/^(blendvp[sd]|pblendvb|sha256rnds2)$/.test(mnemonic) && operands.length === 3) {
    if (third?.kind === 'register' && third.register.name === 'xmm0') {
      shapes.push(operands.slice(0, 2));
    }
  }
  if (/^(loop|loopn?[ez])$/.test(mnemonic) && operands.length === 2 && first) shapes.push([first]);
  if (mnemonic.startsWith('v') && first !== undefined) shapes.push([first, ...operands]);
  if (IMPLICIT.test(mnemonic) && operands.every((one) => one.kind === 'register')) shapes.push([]);
  if (/^(aad|aam)$/.test(mnemonic) && operands.length === 0) {
    shapes.push([{ kind: 'immediate', value: 10n }]);
  }
  return shapes;
}

const registerOperand = (name: string): EncodeOperand => ({
  kind: 'register',
  register: registersByName.get(name) as NamedRegister,
});

/** `mov r64, imm` whose value has 32 bits is written as `mov r32, imm`, which clears the rest. */
function narrowMove(first: EncodeOperand, second: ImmediateOperand): EncodeOperand | undefined {
  if (first.kind !== 'register' || first.register.class !== 'r64') return undefined;
  if (second.segment !== undefined || second.strict === true || second.sizeBits === 32)
    return undefined;
  if (second.unknown !== true && BigInt.asUintN(64, second.value) > 0xffff_ffffn) return undefined;
  const { number } = first.register;
  for (const register of registersByName.values()) {
    if (register.class === 'r32' && register.number === number) return { ...first, register };
  }
  return undefined;
}

/** x87: `fadd st1`, `fadd to st1`, `faddp`, `fadd`. */
function floatShapes(
  mnemonic: string,
  operands: readonly EncodeOperand[],
): readonly (readonly EncodeOperand[])[] {
  const st0 = registerOperand('st0');
  const [only] = operands;
  if (operands.length === 1 && only?.kind === 'register' && only.register.class === 'st') {
    const arithmetic = /^f(add|mul|sub|subr|div|divr)p?$/.test(mnemonic);
    const reversed = only.to === true || (arithmetic && mnemonic.endsWith('p'));
    return reversed ? [[only, st0]] : [[only], [st0, only]];
  }
  if (operands.length === 0) {
    const st1 = registerOperand('st1');
    return [[], [st1, st0], [st0, st1], [st1]];
  }
  return [];
}

function addressBitsOf({ operands, prefixes, bits }: EncodeRequest): number {
  if (prefixes.addressSize !== undefined) return prefixes.addressSize;
  for (const operand of operands) {
    if (operand.kind !== 'memory') continue;
    for (const register of [operand.base, operand.index]) {
      if (register === undefined) continue;
      if (register.class === 'r16') {
        if (bits === 64) throw new EncodeFailure('64-bit mode has no 16-bit addresses.');
        return 16;
      }
      if (register.class === 'r32') return 32;
      if (register.class === 'r64') {
        if (bits !== 64) throw new EncodeFailure('64-bit addresses exist in 64-bit mode only.');
        return 64;
      }
    }
    const { displacementBits, base, index } = operand;
    if (base === undefined && index === undefined && displacementBits !== undefined) {
      if (bits !== 64 && (displacementBits === 16 || displacementBits === 32)) {
        return displacementBits;
      }
    }
  }
  return bits;
}

const STRING_KINDS = new Set<OperandForm>(['seg_rSI', 'es_rDI', 'seg_rDI', 'seg_rBX_al']);
const STRING_PARTNERS = new Set<OperandForm>(['al', 'ax', 'eax', 'rax', 'dx']);

/** Operands of the form as NASM writes them: string operations hide theirs. */
function place(
  form: EncodingForm,
  request: Shaped,
  operands: readonly EncodeOperand[],
  written: readonly EncodeOperand[],
  addressBits: number,
): readonly PlacedOperand[] | undefined {
  const hides = form.operands.some((kind) => STRING_KINDS.has(kind));
  const placed: PlacedOperand[] = [];
  let next = 0;
  for (const kind of form.operands) {
    if (STRING_KINDS.has(kind) || (hides && STRING_PARTNERS.has(kind))) {
      placed.push({ operand: { kind: 'immediate', value: 0n }, index: -1 });
      continue;
    }
    const operand = operands[next];
    if (operand === undefined || !accepts(form, kind, operand, request, addressBits)) {
      return undefined;
    }
    placed.push({ operand, index: written.indexOf(operand) });
    next++;
  }
  if (next !== operands.length) return undefined;
  return fitsWhole(form, request, operands, addressBits) ? placed : undefined;
}

function accepts(
  form: EncodingForm,
  kind: OperandForm,
  operand: EncodeOperand,
  request: EncodeRequest,
  addressBits: number,
): boolean {
  const rule = ruleOf(kind);
  switch (operand.kind) {
    case 'register': {
      const { register } = operand;
      if (rule.register !== undefined) return rule.register === register.name;
      if (rule.classes === undefined) return false;
      if (form.encoding !== 'evex' && VECTORS.has(register.class) && register.number > 15) {
        return false;
      }
      if (operand.mask !== undefined && !form.maskable) return false;
      if (rule.classes.includes(register.class)) return true;
      return (
        /^(Lar|Lsl)_/.test(form.name) && rule.role === 'rm' && /^r(16|32|64)$/.test(register.class)
      );
    }
    case 'memory':
      if (rule.role === 'offset') return isOffsetAddress(operand, addressBits);
      return rule.memory === true && acceptsMemory(form, kind, operand);
    case 'far':
      return rule.role === 'far' && form.operandSize === (operand.sizeBits ?? request.bits);
    case 'immediate':
      return acceptsImmediate(form, kind, operand, request);
  }
}

const VECTORS = new Set(['xmm', 'ymm', 'zmm']);

function isOffsetAddress(operand: MemoryOperand, addressBits: number): boolean {
  const { base, index, ripRelative, displacementBits } = operand;
  if (base !== undefined || index !== undefined || ripRelative === true) return false;
  return (displacementBits ?? (addressBits === 16 ? 16 : 32)) === addressBits;
}

function acceptsMemory(form: EncodingForm, kind: OperandForm, operand: MemoryOperand): boolean {
  const rule = ruleOf(kind);
  const indexClass = [operand.base, operand.index].find((one) =>
    VECTORS.has(one?.class ?? ''),
  )?.class;
  if (indexClass !== rule.vectorIndex) return false;
  if (form.encoding !== 'evex' && (operand.index?.number ?? 0) > 15) return false;
  if (operand.broadcast !== undefined) return form.broadcastBits > 0;
  if (operand.mask !== undefined && !form.maskable) return false;
  if (operand.sizeBits === undefined || isSizeless(form)) return true;
  return operand.sizeBits === namedBits(form, kind);
}

const NAMED_SIZES = new Set([8, 16, 32, 64, 80, 128, 256, 512]);

function isSizeless(form: EncodingForm): boolean {
  if (/^(Lea|Invlpg|Prefetch|Clflush)/.test(form.name)) return true;
  return false;
}

/** The size NASM calls the memory operand by: of a far pointer, that of its offset. */
function namedBits(form: EncodingForm, kind: OperandForm): number {
  if (/^(Jmp|Call)_m16/.test(form.name)) return form.operandSize;
  const wanted = /^(xmm|ymm|zmm|mm|r\d+)_or_mem/.test(kind) && form.memoryBits === 0;
  return wanted ? form.operandSize : form.memoryBits;
}

function acceptsImmediate(
  form: EncodingForm,
  kind: OperandForm,
  operand: ImmediateOperand,
  request: EncodeRequest,
): boolean {
  const rule = ruleOf(kind);
  const plain = operand.segment === undefined;
  if (kind === 'imm8_const_1') {
    return plain && operand.strict !== true && (operand.value === 1n || operand.unknown === true);
  }
  if (rule.role === 'branch') return acceptsBranch(form, rule.bytes ?? 1, operand, request);
  if (operand.distance === 'far') return false;
  if (rule.role !== 'immediate') return false;
  if (rule.extendedTo !== undefined && rule.bytes === 1) {
    if (operand.sizeBits === 8) return true;
    if (operand.sizeBits !== undefined && operand.sizeBits > rule.extendedTo) return false;
    if (request.mnemonic === 'imul' && rule.extendedTo === 64 && operand.sizeBits === 32)
      return false;
    if (!plain || operand.strict === true) return false;
    const width = Math.min(rule.extendedTo, 32);
    return operand.unknown === true || BigInt.asUintN(width, operand.value + 128n) <= 255n;
  }
  if (operand.sizeBits === undefined) return true;
  const bytes = rule.bytes ?? 1;
  if (operand.sizeBits === bytes * 8) return true;
  // `mov rax, qword 5` in its short form.
  if (form.name === 'Mov_r32_imm32' && operand.sizeBits === 64) return request.bits === 64;
  return operand.sizeBits === 64 && rule.extendedTo === 64;
}

/** The rel8 form is for `short`, for what has no other, and for targets NASM finds near enough. */
function acceptsBranch(
  form: EncodingForm,
  bytes: number,
  operand: ImmediateOperand,
  request: EncodeRequest,
): boolean {
  const { bits, here, prefixes } = request;
  if (operand.distance === 'far') return false;
  const usual = request.mnemonic === 'xbegin' ? Math.min(bits, 32) : bits;
  const wanted = operand.sizeBits ?? prefixes.operandSize ?? usual;
  if (form.operandSize !== wanted) return false;
  const onlyShort = /^(loop|j[er]?cxz)/.test(request.mnemonic);
  if (bytes > 1) return operand.distance !== 'short';
  if (onlyShort || operand.distance === 'short') return true;
  if (operand.distance === 'near' || operand.strict === true || operand.sizeBits !== undefined) {
    return false;
  }
  if (operand.unknown === true) return true;
  if (operand.segment !== here.segment) return false;
  const length = 2n + (prefixes.repeat === undefined ? 0n : 1n) + (prefixes.segment ? 1n : 0n);
  const distance = operand.value - here.offset - length;
  return distance >= -128n && distance <= 127n;
}

/** What one operand kind alone cannot tell. */
function fitsWhole(
  form: EncodingForm,
  request: Shaped,
  operands: readonly EncodeOperand[],
  addressBits: number,
): boolean {
  const { bits, mnemonic, prefixes } = request;
  const [first, second] = operands;
  if (form.encoding === 'evex' && prefixes.encoding?.startsWith('vex') === true) return false;
  if (form.encoding === 'vex' && prefixes.encoding === 'evex') return false;
  if (form.addressSize !== 0 && !fitsAddressSize(form, request, addressBits)) return false;
  if (mnemonic === 'xchg' && bits === 64 && form.name === 'Xchg_r32_EAX') {
    if (first?.kind === 'register' && first.register.number === 0) return false;
  }
  if (/^(Cmpxchg486_|Loadall286)/.test(form.name)) return false;
  if (form.name.endsWith('_82') || /_(DCD0|D[0-9A-F]{3})$/.test(form.name)) return false;
  if (first?.kind === 'memory' && /^(jmp|call)$/.test(mnemonic)) {
    const far = /_m16/.test(form.name);
    if (far !== (first.distance === 'far')) return false;
    if (first.sizeBits === undefined && form.operandSize !== bits) return false;
  }
  if (mnemonic === 'push' && first?.kind === 'immediate') {
    const size = first.sizeBits === undefined || first.sizeBits === 8 ? bits : first.sizeBits;
    return form.operandSize === (bits === 64 && size === 32 ? 64 : size);
  }
  if (/^mov$/.test(mnemonic) && second?.kind === 'immediate' && first?.kind === 'register') {
    return fitsMoveImmediate(form, first.register, second);
  }
  const memory = operands.find((one) => one.kind === 'memory');
  const immediate = operands.find((one) => one.kind === 'immediate');
  if (
    memory?.kind === 'memory' &&
    memory.sizeBits === undefined &&
    immediate?.kind === 'immediate' &&
    immediate.sizeBits !== undefined &&
    operands.length === 2
  ) {
    return form.memoryBits === immediate.sizeBits;
  }
  return true;
}

/** `mov r64, imm`: 32 bits unsigned, then 32 bits signed, then 64; a 32-bit form stands for r64. */
function fitsMoveImmediate(
  form: EncodingForm,
  register: NamedRegister,
  operand: ImmediateOperand,
): boolean {
  if (register.class !== 'r64') return true;
  const free = operand.segment === undefined && operand.strict !== true;
  if (form.name === 'Mov_rm64_imm32') {
    if (operand.sizeBits === 32) return true;
    const signed = BigInt.asIntN(64, operand.value);
    return free && operand.unknown !== true && signed < 0n && signed >= -0x8000_0000n;
  }
  return operand.sizeBits !== 32;
}

function fitsAddressSize(form: EncodingForm, request: Shaped, addressBits: number): boolean {
  if (/_mem$/.test(form.operands[0] ?? '') && form.operands.length > 1)
    return form.addressSize === addressBits;
  const counter = request.written[1];
  if (/^loop/.test(request.mnemonic) && counter?.kind === 'register') {
    return counter.register.bits === form.addressSize;
  }
  if (/^j[er]?cxz$/.test(request.mnemonic)) return true;
  const [first] = request.written;
  if (
    /^(invlpga|umonitor|clzero|vmrun|vmload|vmsave)$/.test(request.mnemonic) &&
    first?.kind === 'register'
  ) {
    return first.register.bits === form.addressSize;
  }
  return form.addressSize === (request.prefixes.addressSize ?? request.bits);
}

/** A memory operand without size takes the only size its forms allow. */
function resolveMemorySize(
  legal: readonly Candidate[],
  request: Shaped,
): readonly Candidate[] | { readonly error: string } {
  const memory = request.operands.find((one) => one.kind === 'memory');
  if (memory?.kind !== 'memory' || memory.sizeBits !== undefined) return legal;
  if (memory.broadcast !== undefined) {
    const lanes = memory.broadcast;
    const fitting = legal.filter(
      ({ form }) =>
        form.memoryBits / form.broadcastBits === lanes ||
        form.memoryBits === lanes * form.broadcastBits,
    );
    return fitting.length > 0 ? fitting : legal;
  }
  if (/^(cvtsi2s[sd]|vcvtu?si2s[sdh]|movd|vmovd)$/.test(request.mnemonic)) {
    const words = legal.filter(({ form }) => form.memoryBits === 32);
    if (words.length > 0) return words;
  }
  if (/^mov[sz]x$/.test(request.mnemonic) && request.operands[0]?.kind === 'register') {
    const { bits } = request.operands[0].register;
    if (bits === 16) return preferring(legal, ({ form }) => form.memoryBits === 8);
  }
  if (/^vcvt(t?pd2(ps|dq)|u?dq2ph|u?qq2ph|pd2ph)$/.test(request.mnemonic)) {
    return preferring(legal, ({ form }) => form.memoryBits === 128);
  }
  if (/^(movq|vmovq)$/.test(request.mnemonic)) return legal;
  const sizes = new Set(
    legal.map(({ form }) => form.memoryBits).filter((size) => NAMED_SIZES.has(size)),
  );
  const nameless = legal.every(({ form }) => isSizeless(form) || !NAMED_SIZES.has(form.memoryBits));
  if (sizes.size <= 1 || nameless) return legal;
  return {
    error: `The size of the memory operand is not clear; write one of ${sizeWords(sizes)} before it.`,
  };
}

/** The candidates that pass, or all if none does. */
function preferring(
  candidates: readonly Candidate[],
  passes: (candidate: Candidate) => boolean,
): readonly Candidate[] {
  const some = candidates.filter(passes);
  return some.length > 0 ? some : candidates;
}

const SIZE_WORDS: Record<number, string> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  64: 'qword',
  80: 'tword',
  128: 'oword',
  256: 'yword',
  512: 'zword',
};

const sizeWords = (sizes: ReadonlySet<number>): string =>
  [...sizes]
    .sort((a, b) => a - b)
    .map((size) => `\`${SIZE_WORDS[size] ?? size}\``)
    .join(', ');

/** NASM's preference among forms that all take the operands; iced's order decides the rest. */
function compare(a: Candidate, b: Candidate, request: EncodeRequest): number {
  return (
    rank(a.form, request) - rank(b.form, request) ||
    prefixCost(a.form, request) - prefixCost(b.form, request) ||
    a.order - b.order
  );
}

function rank(form: EncodingForm, request: EncodeRequest): number {
  const kinds = form.operands;
  if (kinds.includes('mem_offs')) return 0;
  if (kinds.includes('imm8_const_1')) return 1;
  if (kinds.some((kind) => ruleOf(kind).role === 'branch' && ruleOf(kind).bytes === 1)) return 1;
  if (kinds.some((kind) => /^imm8sex/.test(kind))) return 2;
  if (form.name === 'Mov_rm64_imm32') return 2;
  if (form.name === 'Movq_mm_mmm64' || form.name === 'Movq_mmm64_mm') return 2;
  if (form.name === 'Movq_xmm_xmmm64' || form.name === 'Movq_xmmm64_xmm') return 2;
  if (/VEX_Vmovq_(xmm_xmmm64|xmmm64_xmm)$/.test(form.name)) return 2;
  if (kinds.some((kind) => /_opcode$/.test(kind))) return 3;
  if (request.mnemonic === 'crc32') return 4;
  return 4;
}

function prefixCost(form: EncodingForm, { bits, prefixes }: EncodeRequest): number {
  if (prefixes.operandSize !== undefined) return form.operandSize === prefixes.operandSize ? 0 : 1;
  let cost = needsOperandPrefix(form.operandSize, bits) ? 2 : 0;
  if (form.operandSize === 64 && !form.defaultSize64) cost += 1;
  // VEX forms younger than their EVEX twins are used on request only: `{vex}`.
  const late = /^VEX_(Vpdp|Vpmadd52|Vcvtneps2bf16)/.test(form.name) && prefixes.encoding !== 'vex';
  if (form.encoding === 'evex') cost += 4;
  else if (late) cost += 8;
  return cost;
}

/** Forms whose operand size changes nothing: NASM writes no prefix for them. */
function keepsSize(form: EncodingForm, operands: readonly EncodeOperand[]): boolean {
  if (/^(Arpl_|Pextrb_r64|Mov_Sreg_|Lldt_|Ltr_|Lmsw_|Verr_|Verw_)/.test(form.name)) return false;
  const toMemory = operands[0]?.kind === 'memory';
  if (/^(Mov_r\w*_Sreg)/.test(form.name)) return !toMemory && form.operandSize !== 64;
  if (/^Sldt_/.test(form.name)) return !toMemory && form.operandSize !== 64;
  if (/^(Smsw_|Str_)/.test(form.name)) return !toMemory;
  if (/^(Push|Pop)[wdq]_[A-Z]S$/.test(form.name)) return false;
  if (/^Nop[wdq]$|^(Enter|Leave)[wdq]/.test(form.name)) return form.operandSize === 16;
  return true;
}

function describeMismatch(
  { mnemonic, operands, bits }: EncodeRequest,
  forms: readonly EncodingForm[],
): string {
  const usable = forms.filter((form) => form.modes[bits]);
  if (usable.length === 0) return `\`${mnemonic}\` does not exist in ${bits}-bit mode.`;
  const sameCount = usable.filter(({ operands: kinds }) => kinds.length === operands.length);
  const texts = [...new Set((sameCount.length > 0 ? sameCount : usable).map(({ text }) => text))];
  const shown = texts.slice(0, 5).join('; ');
  const more = texts.length > 5 ? `; and ${texts.length - 5} more` : '';
  return `\`${mnemonic}\` does not take these operands; expected ${shown}${more}.`;
}
