/**
 * Writes the bytes of a chosen form: prefixes in NASM's order, REX, VEX or EVEX, opcode, ModRM,
 * SIB, displacement, immediates (SDM Vol. 2A 2.1 "Instruction Format for Protected Mode,
 * Real-Address Mode, and Virtual-8086 Mode", 2.2 "IA-32e Mode", 2.3 "VEX", 2.7 "EVEX").
 */
import type { EncodingForm } from './encoding-forms.ts';
import type { EncodeOperand, MemoryOperand, RegisterOperand } from './encoding-operands.ts';
import { ruleOf } from './encoding-operands.ts';
import type { NamedRegister } from './encoding-registers.ts';

export interface Prefixes {
  readonly wait?: boolean;
  /** 0xf2 or 0xf3. */
  readonly repeat?: number;
  readonly lock?: boolean;
  readonly segment?: NamedRegister;
  readonly operandSize?: number;
  readonly addressSize?: number;
  readonly encoding?: 'rex' | 'vex' | 'vex2' | 'vex3' | 'evex';
}

/** A field of the instruction that holds an operand's value. */
export interface EncodedField {
  readonly offset: number;
  readonly bytes: number;
  /** Index of the operand as written. */
  readonly operand: number;
  /** The field counts from the end of the instruction. */
  readonly relative: boolean;
  readonly signed: boolean;
}

export interface Encoded {
  readonly bytes: number[];
  readonly fields: readonly EncodedField[];
}

export interface PlacedOperand {
  readonly operand: EncodeOperand;
  /** Index as written; -1 for an operand the form adds. */
  readonly index: number;
}

export interface Effective {
  readonly mod: number;
  readonly rm: number;
  readonly sib?: number;
  readonly displacementBytes: number;
  /** A displacement scaled by EVEX; otherwise the value itself. */
  readonly compressed?: number;
  readonly rip: boolean;
  readonly x: number;
  readonly b: number;
  readonly v: number;
}

/** A reason why the form cannot be written with these operands. */
export class EncodeFailure extends Error {}

const EXTENDED_BYTES = new Set(['spl', 'bpl', 'sil', 'dil']);
const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/** Encodes; `addressBits` is the address size in effect, `withSize` false drops 66 and REX.W. */
export function writeForm(
  form: EncodingForm,
  placed: readonly PlacedOperand[],
  prefixes: Prefixes,
  bits: 16 | 32 | 64,
  addressBits: number,
  withSize: boolean,
): Encoded {
  const bytes: number[] = [];
  const fields: EncodedField[] = [];
  const parts = distribute(form, placed);
  const effective =
    parts.rm === undefined ? undefined : effectiveAddress(form, parts.rm, bits, addressBits, parts);
  const reg = form.group >= 0 ? form.group : (parts.reg?.register.number ?? 0);
  const size = withSize ? form.operandSize : 0;
  writePrefixes(bytes, form, prefixes, bits, addressBits, size);
  if (form.encoding === 'legacy' || form.encoding === '3dnow') {
    const wide =
      (bits === 64 && size === 64 && !form.defaultSize64) ||
      prefixes.operandSize === 64 ||
      form.name === 'Invpcid_r64_m128';
    writeLegacy(bytes, form, parts, effective, reg, bits, wide, prefixes);
  } else if (form.encoding === 'evex') {
    writeEvex(bytes, form, parts, effective, reg, bits);
  } else {
    writeVex(bytes, form, parts, effective, reg, bits, prefixes);
  }
  if (effective !== undefined) {
    bytes.push((effective.mod << 6) | ((reg & 7) << 3) | effective.rm);
    if (effective.sib !== undefined) bytes.push(effective.sib);
    if (effective.compressed !== undefined) {
      bytes.push(effective.compressed & 0xff);
    } else if (effective.displacementBytes > 0 && parts.rm !== undefined) {
      fields.push({
        offset: bytes.length,
        bytes: effective.displacementBytes,
        operand: parts.rm.index,
        relative: effective.rip,
        signed: addressBits === 64,
      });
      for (let i = 0; i < effective.displacementBytes; i++) bytes.push(0);
    }
  } else if (form.group >= 0 && form.operands.length === 0) {
    bytes.push(0xc0 | (form.group << 3) | Math.max(form.rmGroup, 0));
  } else if (form.group >= 0 && parts.opcode === undefined && hasModrm(form)) {
    bytes.push(0xc0 | (form.group << 3) | Math.max(form.rmGroup, 0));
  } else if (parts.reg !== undefined && form.group < 0 && parts.opcode === undefined) {
    bytes.push(0xc0 | ((reg & 7) << 3) | Math.max(form.rmGroup, 0));
  }
  if (form.encoding === '3dnow') bytes.push(form.opcode);
  writeImmediates(bytes, fields, form, placed, addressBits);
  if (bytes.length > 15) throw new EncodeFailure('The instruction would be longer than 15 bytes.');
  return { bytes, fields };
}

interface Parts {
  reg?: RegisterOperand;
  rm?: PlacedOperand;
  vvvv?: RegisterOperand;
  opcode?: RegisterOperand;
  decorated?: RegisterOperand | MemoryOperand;
}

const hasModrm = (form: EncodingForm): boolean => form.rmGroup >= 0;

function distribute(form: EncodingForm, placed: readonly PlacedOperand[]): Parts {
  const parts: Parts = {};
  for (const [i, kind] of form.operands.entries()) {
    const item = placed[i];
    if (item === undefined) continue;
    const { operand } = item;
    const { role } = ruleOf(kind);
    if (role === 'rm') parts.rm = item;
    if (operand.kind === 'register') {
      if (role === 'reg') parts.reg = operand;
      if (role === 'vvvv') parts.vvvv = operand;
      if (role === 'opcode') parts.opcode = operand;
    }
    if (
      (operand.kind === 'register' || operand.kind === 'memory') &&
      (operand.mask !== undefined || operand.zeroing === true)
    ) {
      parts.decorated = operand;
    }
  }
  return parts;
}

function writePrefixes(
  bytes: number[],
  form: EncodingForm,
  prefixes: Prefixes,
  bits: number,
  addressBits: number,
  size: number,
): void {
  if ((form.waits && form.name !== 'Fsetpm') || prefixes.wait === true) bytes.push(0x9b);
  if (prefixes.repeat !== undefined) bytes.push(prefixes.repeat);
  if (prefixes.lock === true) bytes.push(0xf0);
  if (prefixes.segment !== undefined) bytes.push(SEGMENT_PREFIX[prefixes.segment.number] ?? 0);
  const wanted = prefixes.operandSize ?? size;
  const legacy = form.encoding === 'legacy';
  if (legacy && needsOperandPrefix(wanted, bits)) bytes.push(0x66);
  if (addressBits !== bits) bytes.push(0x67);
}

/** True if the operand size takes a 66 prefix in this mode. */
export function needsOperandPrefix(size: number, bits: number): boolean {
  return (size === 16 && bits !== 16) || (size === 32 && bits === 16);
}

function writeLegacy(
  bytes: number[],
  form: EncodingForm,
  parts: Parts,
  effective: Effective | undefined,
  reg: number,
  bits: number,
  wide: boolean,
  prefixes: Prefixes,
): void {
  const registers = [parts.reg, parts.opcode, asRegister(parts.rm)];
  const lowByte = registers.some(
    (one) => one !== undefined && EXTENDED_BYTES.has(one.register.name),
  );
  const highByte = registers.some((one) => one?.register.class === 'r8high');
  const b = effective?.b ?? (parts.opcode?.register.number ?? 0) >> 3;
  const r = form.group >= 0 ? 0 : (reg >> 3) & 1;
  const rex = (wide ? 8 : 0) | (r << 2) | ((effective?.x ?? 0) << 1) | (b & 1);
  if (form.mandatoryPrefix !== 0) bytes.push(form.mandatoryPrefix);
  if (rex !== 0 || lowByte || prefixes.encoding === 'rex') {
    if (highByte) throw new EncodeFailure('ah, bh, ch and dh cannot stand beside a REX prefix.');
    if (bits !== 64) {
      if (parts.reg?.register.name !== 'cr8' && asRegister(parts.rm)?.register.name !== 'cr8') {
        throw new EncodeFailure('The register exists in 64-bit mode only.');
      }
      bytes.push(0xf0);
    } else bytes.push(0x40 | rex);
  }
  if (form.map >= 1) bytes.push(0x0f);
  if (form.map === 2) bytes.push(0x38);
  if (form.map === 3) bytes.push(0x3a);
  if (form.encoding === '3dnow') {
    bytes.push(0x0f);
    return;
  }
  const opcode = form.opcode + ((parts.opcode?.register.number ?? 0) & 7);
  if (form.opcodeBytes === 2) bytes.push(opcode >> 8);
  bytes.push(opcode & 0xff);
}

const asRegister = (placed: PlacedOperand | undefined): RegisterOperand | undefined =>
  placed?.operand.kind === 'register' ? placed.operand : undefined;

const PP: Record<number, number> = { 0: 0, 102: 1, 243: 2, 242: 3 };

/** Forms with a 64-bit register that NASM writes without VEX.W: the upper half is zero anyway. */
const NARROW_VEX = /^VEX_(Vmovmskp|Vpmovmskb|Vpextr[bw]|Vextractps)/;

function writeVex(
  bytes: number[],
  form: EncodingForm,
  parts: Parts,
  effective: Effective | undefined,
  reg: number,
  bits: number,
  prefixes: Prefixes,
): void {
  const r = form.group >= 0 ? 0 : (reg >> 3) & 1;
  const w = NARROW_VEX.test(form.name) ? 0 : form.w;
  const x = effective?.x ?? 0;
  const b = effective?.b ?? 0;
  if (bits !== 64 && (r | x | b) !== 0) {
    throw new EncodeFailure('The register exists in 64-bit mode only.');
  }
  const vvvv = ~(parts.vvvv?.register.number ?? 0) & 15;
  const tail = (vvvv << 3) | (form.vectorLength << 2) | (PP[form.mandatoryPrefix] ?? 0);
  const short = form.encoding === 'vex' && form.map === 1 && x === 0 && b === 0 && w === 0;
  if (short && prefixes.encoding !== 'vex3') bytes.push(0xc5, ((r ^ 1) << 7) | tail);
  else {
    bytes.push(
      form.encoding === 'xop' ? 0x8f : 0xc4,
      ((r ^ 1) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | form.map,
      (w << 7) | tail,
    );
  }
  if (form.opcodeBytes === 2) bytes.push(form.opcode >> 8);
  bytes.push(form.opcode & 0xff);
}

function writeEvex(
  bytes: number[],
  form: EncodingForm,
  parts: Parts,
  effective: Effective | undefined,
  reg: number,
  bits: number,
): void {
  const r = form.group >= 0 ? 0 : reg;
  const vvvv = parts.vvvv?.register.number ?? 0;
  const memory = parts.rm?.operand.kind === 'memory' ? parts.rm.operand : undefined;
  const broadcast = memory?.broadcast !== undefined ? 1 : 0;
  const v = ((vvvv >> 4) & 1) | (effective?.v ?? 0);
  if (bits !== 64 && ((r | vvvv) > 7 || (effective?.b ?? 0) !== 0)) {
    throw new EncodeFailure('The register exists in 64-bit mode only.');
  }
  const inverted = (bit: number, at: number) => ((bit & 1) ^ 1) << at;
  bytes.push(
    0x62,
    inverted(r >> 3, 7) |
      inverted(effective?.x ?? 0, 6) |
      inverted(effective?.b ?? 0, 5) |
      inverted(r >> 4, 4) |
      form.map,
    (form.w << 7) | ((~vvvv & 15) << 3) | 4 | (PP[form.mandatoryPrefix] ?? 0),
    ((parts.decorated?.zeroing === true ? 1 : 0) << 7) |
      (form.vectorLength << 5) |
      (broadcast << 4) |
      inverted(v, 3) |
      (parts.decorated?.mask ?? 0),
    form.opcode & 0xff,
  );
}

function writeImmediates(
  bytes: number[],
  fields: EncodedField[],
  form: EncodingForm,
  placed: readonly PlacedOperand[],
  addressBits: number,
): void {
  let is4 = -1;
  for (const [i, kind] of form.operands.entries()) {
    const item = placed[i];
    if (item === undefined) continue;
    const { operand, index } = item;
    const rule = ruleOf(kind);
    if (rule.role === 'is4' && operand.kind === 'register') {
      is4 = bytes.length;
      bytes.push(operand.register.number << 4);
    } else if (kind === 'imm4_m2z' && operand.kind === 'immediate' && is4 >= 0) {
      bytes[is4] = (bytes[is4] ?? 0) | (Number(operand.value) & 15);
    } else if (rule.role === 'immediate' || rule.role === 'branch' || rule.role === 'offset') {
      const count = rule.role === 'offset' ? addressBits >> 3 : (rule.bytes ?? 1);
      fields.push({
        offset: bytes.length,
        bytes: count,
        operand: index,
        relative: rule.role === 'branch',
        signed: rule.extendedTo !== undefined || rule.role === 'branch',
      });
      for (let k = 0; k < count; k++) bytes.push(0);
    } else if (rule.role === 'far' && operand.kind === 'far') {
      const count = rule.bytes ?? 2;
      fields.push({
        offset: bytes.length,
        bytes: count,
        operand: index,
        relative: false,
        signed: false,
      });
      for (let k = 0; k < count; k++) bytes.push(0);
      bytes.push(Number(operand.selector & 0xffn), Number((operand.selector >> 8n) & 0xffn));
    }
  }
}

function effectiveAddress(
  form: EncodingForm,
  placed: PlacedOperand,
  bits: number,
  addressBits: number,
  parts: Parts,
): Effective {
  const { operand } = placed;
  if (operand.kind === 'register') {
    const { number } = operand.register;
    const high = form.encoding === 'evex' ? (number >> 4) & 1 : 0;
    return {
      mod: 3,
      rm: number & 7,
      displacementBytes: 0,
      rip: false,
      x: high,
      b: (number >> 3) & 1,
      v: 0,
    };
  }
  if (operand.kind !== 'memory') throw new EncodeFailure('A memory operand was expected.');
  void parts;
  const needsSib = form.operands.some((kind) => ruleOf(kind).needsSib === true);
  if (operand.base === undefined && operand.index === undefined) {
    return pureOffset(operand, bits, addressBits, needsSib);
  }
  const narrow = [operand.base, operand.index].some((one) => one?.class === 'r16');
  return narrow
    ? wordAddress(form, operand, addressBits)
    : indexedAddress(form, operand, addressBits, needsSib);
}

function pureOffset(
  operand: MemoryOperand,
  bits: number,
  addressBits: number,
  needsSib: boolean,
): Effective {
  const none = { x: 0, b: 0, v: 0 };
  if (needsSib || (bits === 64 && operand.ripRelative !== true)) {
    return { mod: 0, rm: 4, sib: 0x25, displacementBytes: 4, rip: false, ...none };
  }
  return addressBits === 16
    ? { mod: 0, rm: 6, displacementBytes: 2, rip: false, ...none }
    : { mod: 0, rm: 5, displacementBytes: 4, rip: bits === 64, ...none };
}

const VECTOR = new Set(['xmm', 'ymm', 'zmm']);

/** 32- and 64-bit addresses. Base and index are arranged as NASM does, from the source's hints. */
function indexedAddress(
  form: EncodingForm,
  operand: MemoryOperand,
  addressBits: number,
  needsSib: boolean,
): Effective {
  let { base, index } = operand;
  let scale = index === undefined ? 0 : operand.scale;
  const { hint } = operand;
  const vector = [base, index].some((one) => one !== undefined && VECTOR.has(one.class));
  if (vector) {
    if (index === undefined || (base !== undefined && VECTOR.has(base.class))) {
      [base, index] = [index, base];
      scale = scale || 1;
    }
  } else {
    if (
      scale === 1 &&
      base !== undefined &&
      index !== undefined &&
      base !== index &&
      ((hint?.register === base && hint.type === 'notBase') ||
        (hint?.register === index && hint.type === 'base'))
    ) {
      [base, index] = [index, base];
    }
    if (
      base === undefined &&
      scale === 1 &&
      !(hint?.register === index && hint?.type === 'notBase')
    ) {
      [base, index] = [index, undefined];
    }
    const splits =
      (scale === 2 &&
        index?.number !== 4 &&
        (operand.noSplit !== true || hint?.type === 'summed')) ||
      scale === 3 ||
      scale === 5 ||
      scale === 9;
    if (base === undefined && index !== undefined && splits) {
      base = index;
      scale--;
    }
    if (
      index === undefined &&
      base !== undefined &&
      (base.number & 7) !== 4 &&
      operand.noSplit === true &&
      hint?.register === base &&
      hint.type === 'notBase'
    ) {
      [base, index, scale] = [undefined, base, 1];
    }
    if (scale === 1 && index?.number === 4) [base, index] = [index, base];
    if (index?.number === 4) throw new EncodeFailure('esp and rsp cannot be scaled.');
  }
  if (index !== undefined && ![1, 2, 4, 8].includes(scale)) {
    throw new EncodeFailure('An index register is scaled by 1, 2, 4 or 8.');
  }
  for (const one of [base, index]) {
    if (one === undefined || (one === index && vector)) continue;
    if (one.class !== (addressBits === 64 ? 'r64' : 'r32')) {
      throw new EncodeFailure('Base and index must be general registers of the same size.');
    }
  }
  const displacement = displacementOf(form, operand, base, 5);
  const x = ((index?.number ?? 0) >> 3) & 1;
  const b = ((base?.number ?? 0) >> 3) & 1;
  const v = vector ? ((index?.number ?? 0) >> 4) & 1 : 0;
  const noSib = index === undefined && base !== undefined && (base.number & 7) !== 4 && !needsSib;
  if (noSib) return { ...displacement, rm: (base?.number ?? 0) & 7, rip: false, x, b, v };
  const sib =
    (Math.log2(index === undefined ? 1 : scale) << 6) |
    ((index === undefined ? 4 : index.number & 7) << 3) |
    (base === undefined ? 5 : base.number & 7);
  return { ...displacement, rm: 4, sib, rip: false, x, b, v };
}

function displacementOf(
  form: EncodingForm,
  operand: MemoryOperand,
  base: NamedRegister | undefined,
  alwaysDisplaced: number,
  wideBytes = 4,
): { mod: number; displacementBytes: number; compressed?: number } {
  if (base === undefined) return { mod: 0, displacementBytes: wideBytes };
  const movable = operand.segment !== undefined || operand.unknown === true;
  const value = BigInt.asIntN(wideBytes * 8, operand.value);
  const sized = operand.displacementBits !== undefined;
  if ((base.number & 7) !== alwaysDisplaced && value === 0n && !movable && !sized) {
    return { mod: 0, displacementBytes: 0 };
  }
  if (sized && operand.displacementBits !== 8) return { mod: 2, displacementBytes: wideBytes };
  if (form.encoding === 'evex') {
    const unit = BigInt(tupleBytes(form, operand.broadcast !== undefined));
    const scaled = value / unit;
    if (!movable && value % unit === 0n && scaled >= -128n && scaled <= 127n) {
      return { mod: 1, displacementBytes: 1, compressed: Number(scaled) };
    }
    return { mod: 2, displacementBytes: wideBytes };
  }
  if (sized || (!movable && value >= -128n && value <= 127n)) {
    return { mod: 1, displacementBytes: 1 };
  }
  return { mod: 2, displacementBytes: wideBytes };
}

const TUPLES = [
  [1, 1],
  [2, 2],
  [4, 4],
  [8, 8],
  [16, 16],
  [32, 32],
  [64, 64],
  [8, 4],
  [16, 4],
  [32, 4],
  [64, 4],
  [16, 8],
  [32, 8],
  [64, 8],
  [4, 2],
  [8, 2],
  [16, 2],
  [32, 2],
  [64, 2],
] as const;

function tupleBytes(form: EncodingForm, broadcast: boolean): number {
  return TUPLES[form.tupleType]?.[broadcast ? 1 : 0] ?? 1;
}

const WORD_PAIRS: Record<string, number> = {
  'bx+si': 0,
  'bx+di': 1,
  'bp+si': 2,
  'bp+di': 3,
  si: 4,
  di: 5,
  bp: 6,
  bx: 7,
};

function wordAddress(form: EncodingForm, operand: MemoryOperand, addressBits: number): Effective {
  const names = [operand.base?.name, operand.index?.name].filter((name) => name !== undefined);
  const rm = WORD_PAIRS[names.join('+')] ?? WORD_PAIRS[names.reverse().join('+')];
  if (
    rm === undefined ||
    addressBits !== 16 ||
    (operand.index !== undefined && operand.scale !== 1)
  ) {
    throw new EncodeFailure('A 16-bit address is bx or bp, si or di, and a displacement.');
  }
  const base = { number: rm } as NamedRegister;
  const displacement = displacementOf(form, operand, base, 6, 2);
  return { ...displacement, rm, rip: false, x: 0, b: 0, v: 0 };
}
