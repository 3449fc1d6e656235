/**
 * Seeded cases for the comparison with a real processor: one instruction each, of every tested
 * form, with registers and flags. Memory is the same for all cases. Most memory operands fall into
 * the data pages, some cross a page, touch the read-only page or nothing.
 */
import { type TestedForm, testedForms } from './forms.ts';

export const CODE = 0x10100;
export const DATA = 0x20000;
export const DATA_BYTES = 0x2000;
export const READ_ONLY_BYTES = 0x1000;
/** Base of GS in 64-bit mode. */
export const GS_BASE = DATA + 0x800;
export const STATUS = 0x8d5;

export interface Case {
  readonly bits: 32 | 64;
  readonly tested: TestedForm;
  readonly code: readonly number[];
  readonly registers: readonly bigint[];
  readonly flags: number;
  /** A REP prefix: the processor traps after each iteration. */
  readonly repeats: boolean;
}

type Random = (below: number) => number;

/** Numerical Recipes' 32-bit linear congruential generator; its high bits are used. */
const randomOf = (seed: number): Random => {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};

const EDGES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 63n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];

const quadOf = (random: Random): bigint =>
  random(3) === 0
    ? (EDGES[random(EDGES.length)] ?? 0n)
    : (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));

/** What memory holds: quads below 2^32, runs of one byte, edges, and anything. */
export const initialMemory = (): Buffer => {
  const random = randomOf(7);
  const bytes = Buffer.alloc(DATA_BYTES + READ_ONLY_BYTES);
  for (let at = 0; at < bytes.length; at += 8) {
    const zone = (at >> 9) & 3;
    const run = (BigInt((at >> 6) & 0xff) * 0x0101_0101_0101_0101n) & ((1n << 64n) - 1n);
    const small = BigInt(random(2 ** 31));
    bytes.writeBigUInt64LE(zone === 0 ? small : zone === 1 ? run : quadOf(random), at);
  }
  return bytes;
};

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSP = 4;
const RBP = 5;
const RSI = 6;
const RDI = 7;

/** Cases of one mode, the same number of each form. */
export const casesOf = (bits: 32 | 64, seed: number, casesPerForm: number): Case[] => {
  const random = randomOf(seed);
  const memory = initialMemory();
  return testedForms(bits).flatMap((tested) =>
    Array.from({ length: casesPerForm }, () => new Builder(bits, tested, random, memory).build()),
  );
};

/** Builds one case: chooses operands, writes the bytes, and aims pointers at memory. */
class Builder {
  readonly #bits: 32 | 64;
  readonly #tested: TestedForm;
  readonly #random: Random;
  readonly #memory: Buffer;
  readonly #registers: bigint[];
  readonly #prefixes: number[] = [];
  readonly #tail: number[] = [];
  #rex = 0;
  #needsRex = false;
  #modrm: number | undefined;
  #vvvv = 0;
  #opcodeAdd = 0;
  #addressBits: 16 | 32 | 64;
  #relative: { at: number; target: number } | undefined;
  readonly #immediates: number[] = [];

  constructor(bits: 32 | 64, tested: TestedForm, random: Random, memory: Buffer) {
    this.#bits = bits;
    this.#tested = tested;
    this.#random = random;
    this.#memory = memory;
    this.#addressBits = bits;
    this.#registers = Array.from({ length: 16 }, () => quadOf(random));
  }

  build(): Case {
    const { form, mnemonic } = this.#tested;
    if (form.group >= 0) this.#modrm = 0xc0 | (form.group << 3) | Math.max(form.rmGroup, 0);
    this.#shapeSizes();
    for (const kind of form.operands) this.#operand(kind);
    this.#shapeRegisters();
    const isVex = form.encoding === 'vex';
    const repeats = this.#addPrefixes(isVex);
    const code = isVex ? this.#vex() : this.#legacy();
    if (this.#relative !== undefined) {
      const { at, target } = this.#relative;
      const place = code.length - this.#immediates.length - 4 + at;
      const displacement = target - (CODE + code.length);
      for (let i = 0; i < 4; i += 1) code[place + i] = (displacement >> (8 * i)) & 0xff;
    }
    const flags = (this.#random(2 ** 12) & STATUS) | (this.#random(4) === 0 ? 0x400 : 0) | 0x202;
    const limit = this.#bits === 64 ? 64 : 32;
    return {
      bits: this.#bits,
      tested: { ...this.#tested, mnemonic },
      code,
      registers: this.#registers.map((value) => BigInt.asUintN(limit, value)),
      flags,
      repeats,
    };
  }

  #shapeSizes(): void {
    const { form } = this.#tested;
    if (form.addressSize !== 0 && form.addressSize !== this.#bits) {
      this.#prefixes.push(0x67);
      this.#addressBits = form.addressSize as 16 | 32;
    } else if (form.addressSize === 0 && this.#random(12) === 0 && form.encoding === 'legacy') {
      this.#prefixes.push(0x67);
      this.#addressBits = this.#bits === 64 ? 32 : 16;
    }
    if (form.encoding !== 'legacy') return;
    const native = this.#bits === 64 && form.defaultSize64 ? 64 : 32;
    if (form.operandSize === 16) this.#prefixes.push(0x66);
    else if (form.operandSize === 64 && native !== 64) this.#rex |= 8;
  }

  /** The bytes of a little-endian number, appended to what follows the address. */
  #immediate(bytes: number, value: bigint): void {
    for (let i = 0; i < bytes; i += 1) {
      this.#immediates.push(Number((value >> BigInt(8 * i)) & 0xffn));
    }
  }

  #anyRegister(): number {
    return this.#random(this.#bits === 64 ? 16 : 8);
  }

  #operand(kind: string): void {
    const random = this.#random;
    const register = this.#anyRegister();
    if (/^r\d+_reg$|^(cr|dr|seg)_reg$/.test(kind)) {
      const number = kind === 'seg_reg' ? random(4) : kind === 'cr_reg' ? 4 : register;
      this.#field(kind.startsWith('dr') ? number & 7 : number, 3, 4);
      this.#byteRegister(kind, number);
    } else if (/^r\d+_rm$/.test(kind) || (/_or_mem$/.test(kind) && random(2) === 0)) {
      this.#modrm = (this.#modrm ?? 0) | 0xc0;
      this.#field(register, 0, 1);
      this.#byteRegister(kind, register);
    } else if (/_or_mem$|^mem$/.test(kind)) {
      this.#memoryOperand();
    } else if (/_opcode$/.test(kind)) {
      this.#opcodeAdd = register & 7;
      if (register > 7) this.#rex |= 1;
      this.#byteRegister(kind, register);
    } else if (/_vvvv$/.test(kind)) {
      this.#vvvv = register;
    } else if (kind === 'mem_offs') {
      const bytes = this.#addressBits / 8;
      const at = BigInt(this.#target());
      for (let i = 0; i < bytes; i += 1) this.#tail.push(Number((at >> BigInt(8 * i)) & 0xffn));
    } else if (kind.startsWith('imm') && kind !== 'imm8_const_1') {
      const bytes = /^imm8/.test(kind) ? 1 : /^imm16/.test(kind) ? 2 : kind === 'imm64' ? 8 : 4;
      this.#immediate(bytes, quadOf(random));
    } else if (kind.startsWith('br')) {
      const bytes = Number(kind.slice(-1));
      this.#immediate(bytes, bytes === 4 ? BigInt(random(0x10_0000)) : quadOf(random));
    }
  }

  /** SPL, BPL, SIL and DIL need a REX prefix; without one the numbers mean AH to BH. */
  #byteRegister(kind: string, register: number): void {
    if (!kind.startsWith('r8') || register < 4 || register > 7 || this.#bits === 32) return;
    if (this.#random(2) === 0) this.#needsRex = true;
  }

  #field(register: number, shift: number, rexBit: number): void {
    this.#modrm = (this.#modrm ?? 0) | ((register & 7) << shift);
    if (register > 7) this.#rex |= rexBit;
  }

  /** An address in memory, now and then at a border. */
  #target(): number {
    const { mnemonic } = this.#tested;
    const random = this.#random;
    if (mnemonic === 'jmp' || mnemonic === 'call' || mnemonic === 'ret') {
      return DATA + 0x800 * random(4) + 8 * random(60);
    }
    const choice = random(20);
    if (choice === 0) return DATA + 0xff0 + random(32);
    if (choice === 1) return DATA + DATA_BYTES - random(20);
    if (choice === 2) return DATA + DATA_BYTES + random(READ_ONLY_BYTES);
    if (choice === 3) return DATA + DATA_BYTES + READ_ONLY_BYTES + random(0x4000) - 16;
    const at = DATA + 0x40 + random(DATA_BYTES - 0x80);
    return mnemonic === 'cmpxchg16b' && choice > 6 ? at & ~15 : at;
  }

  /** ModRM, SIB and displacement of a memory operand, with registers that make the target. */
  #memoryOperand(): void {
    if (this.#addressBits === 16) {
      const mod = this.#random(3);
      const rm = this.#random(8);
      this.#modrm = (this.#modrm ?? 0) & 0x38;
      this.#modrm |= (mod << 6) | rm;
      const bytes = mod === 1 ? 1 : mod === 2 || rm === 6 ? 2 : 0;
      for (let i = 0; i < bytes; i += 1) this.#tail.push(this.#random(256));
      return;
    }
    const target = this.#target();
    this.#modrm = (this.#modrm ?? 0) & 0x38;
    const shape = this.#random(8);
    if (shape === 0) this.#absolute(target);
    else this.#indexed(target, shape > 3);
  }

  /** RIP-relative in 64-bit mode, or a plain displacement. */
  #absolute(target: number): void {
    const isRelative = this.#bits === 64 && this.#random(2) === 0;
    if (this.#bits === 64 && !isRelative) {
      this.#modrm = (this.#modrm ?? 0) | 4;
      this.#tail.push(0x25);
    } else this.#modrm = (this.#modrm ?? 0) | 5;
    if (isRelative) this.#relative = { at: 0, target };
    this.#displacement(target, 4);
  }

  #displacement(value: number, bytes: number): void {
    for (let i = 0; i < bytes; i += 1) this.#tail.push((value >> (8 * i)) & 0xff);
  }

  #indexed(target: number, hasIndex: boolean): void {
    const base = this.#anyRegister();
    const displacementBytes = [0, 1, 4][this.#random(3)] ?? 0;
    const displacement =
      displacementBytes === 0
        ? 0
        : displacementBytes === 1
          ? this.#random(256) - 128
          : this.#random(0x2000) - 0x1000;
    const needsDisplacement = (base & 7) === 5 && displacementBytes === 0;
    const bytes = needsDisplacement ? 1 : displacementBytes;
    this.#modrm = (this.#modrm ?? 0) | (bytes === 0 ? 0 : bytes === 1 ? 0x40 : 0x80);
    let rest = BigInt(target - displacement);
    if (hasIndex || (base & 7) === 4) {
      const index = hasIndex ? this.#anyRegister() : 4;
      const scale = this.#random(4);
      this.#modrm |= 4;
      this.#tail.push((scale << 6) | ((index & 7) << 3) | (base & 7));
      if (index > 7) this.#rex |= 2;
      if (index !== 4 && index !== base) {
        this.#registers[index] = BigInt.asUintN(64, BigInt(this.#random(0x400) - 0x200));
        rest -= BigInt.asIntN(64, this.#registers[index] ?? 0n) << BigInt(scale);
      }
    } else this.#modrm |= base & 7;
    if (base > 7) this.#rex |= 1;
    this.#registers[base] = BigInt.asUintN(64, rest);
    this.#displacement(displacement, bytes);
  }

  /** Values without which an instruction would only fault. */
  #shapeRegisters(): void {
    const { mnemonic, form } = this.#tested;
    const random = this.#random;
    const set = (register: number, value: number | bigint) => {
      this.#registers[register] = BigInt.asUintN(64, BigInt(value));
    };
    if (/^(push|pop|call|ret|enter|leave)/.test(mnemonic)) {
      set(RSP, mnemonic === 'ret' ? this.#target() : DATA + 0x400 + random(0x1800));
      if (/^(enter|leave)/.test(mnemonic)) set(RBP, this.#target());
    }
    if (/^(jmp|call)$/.test(mnemonic) && (this.#modrm ?? 0) >= 0xc0) {
      const register = ((this.#modrm ?? 0) & 7) | ((this.#rex & 1) << 3);
      set(register, 0x10000 + random(2 ** 30));
    }
    if (/^(movs|stos|lods|scas|cmps|ins|outs)[bwdq]$/.test(mnemonic)) {
      set(RSI, this.#target());
      set(RDI, random(6) === 0 ? DATA + 0x200 + random(0x180) : this.#target());
      set(RCX, random(40));
    }
    if (mnemonic === 'xlatb') set(RBX, this.#target());
    if (/^i?div$/.test(mnemonic) && random(3) !== 0) set(RDX, random(2) === 0 ? 0 : -1);
    if (/^i?div$/.test(mnemonic) && random(3) === 0) set(RAX, random(0x4000));
    if (/^bt[src]?$/.test(mnemonic) && form.operands[1]?.endsWith('reg') === true) {
      const register = (((this.#modrm ?? 0) >> 3) & 7) | (this.#rex & 4 ? 8 : 0);
      const width = BigInt(form.operandSize);
      const high = (quadOf(random) >> width) << width;
      set(register, high | BigInt.asUintN(Number(width), BigInt(random(0x4000) - 0x2000)));
    }
    if (/^cmpxchg/.test(mnemonic) && random(2) === 0) this.#expectMemory();
  }

  /** The accumulator holds what a plain base register points at, if it does. */
  #expectMemory(): void {
    const at = Number(BigInt.asUintN(32, (this.#registers[RDI] ?? 0n) - BigInt(DATA)));
    const place = at + 16 <= DATA_BYTES ? at : 0;
    this.#registers[RAX] = this.#memory.readBigUInt64LE(place);
    if (this.#tested.mnemonic === 'cmpxchg') return;
    const isWide = this.#tested.mnemonic === 'cmpxchg16b';
    this.#registers[RDX] = this.#memory.readBigUInt64LE(place + (isWide ? 8 : 4));
    if (at + 16 <= DATA_BYTES) {
      // [rdi] without index or displacement.
      this.#modrm = ((this.#modrm ?? 0) & 0x38) | RDI;
      this.#rex &= ~7;
      this.#tail.length = 0;
      this.#relative = undefined;
    }
  }

  /** REP for string instructions, now and then a segment override or LOCK. */
  #addPrefixes(isVex: boolean): boolean {
    const { mnemonic, form } = this.#tested;
    const random = this.#random;
    const isString = /^(movs|stos|lods|scas|cmps|ins|outs)[bwdq]$/.test(mnemonic);
    const repeats = isString && random(3) !== 0;
    if (repeats) this.#prefixes.push(0xf2 + random(2));
    const hasMemory = this.#modrm !== undefined && this.#modrm < 0xc0;
    if (!isVex && random(12) === 0 && hasMemory && form.lockable) this.#prefixes.push(0xf0);
    if (this.#bits === 64 && random(16) === 0 && (hasMemory || isString)) {
      this.#prefixes.push([0x65, 0x2e, 0x3e, 0x26][random(4)] ?? 0x65);
    }
    return repeats;
  }

  #opcode(): number[] {
    const { opcode, opcodeBytes } = this.#tested.form;
    const value = opcode + this.#opcodeAdd;
    return opcodeBytes === 2 ? [value >> 8, value & 0xff] : [value];
  }

  /** What follows the opcode. */
  #rest(): number[] {
    return [
      ...(this.#modrm === undefined ? [] : [this.#modrm]),
      ...this.#tail,
      ...this.#immediates,
    ];
  }

  #legacy(): number[] {
    const { form } = this.#tested;
    const mandatory = form.mandatoryPrefix === 0 ? [] : [form.mandatoryPrefix];
    const rex = this.#rex !== 0 || this.#needsRex ? [0x40 | this.#rex] : [];
    const map = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][form.map] ?? [];
    return [...this.#prefixes, ...mandatory, ...rex, ...map, ...this.#opcode(), ...this.#rest()];
  }

  #vex(): number[] {
    const { form } = this.#tested;
    const inverted = (~this.#rex & 7) << 5;
    const pp = { 102: 1, 243: 2, 242: 3 }[form.mandatoryPrefix] ?? 0;
    const w = form.operandSize === 64 || form.w === 1 ? 0x80 : 0;
    const last = w | ((~this.#vvvv & 15) << 3) | pp;
    return [...this.#prefixes, 0xc4, inverted | form.map, last, ...this.#opcode(), ...this.#rest()];
  }
}
