/**
 * The language in which the meanings of instructions are written.
 *
 * A meaning is a function over `Semantics<V>`. `V` is a value of the engine that evaluates it:
 * a bigint with its width in the reference engine, a WebAssembly expression in the interpreter
 * and in compiled code. So a meaning never looks into a value with a JavaScript operator.
 *
 * The commit rule: a meaning first reads and computes, then writes memory, then registers, then
 * flags, and jumps last. Nothing is written before the last access that may fault, so that every
 * fault leaves the instruction restartable. A meaning that cannot obey is marked `tier: 'precise'`.
 */
import type { ExceptionName } from './exceptions.ts';
import type { MemoryOperand, Operand, SegmentRegister, Width } from './operands.ts';

/** Widths of values in bits; 1 is a condition: 0 or 1. */
export type ValueWidth = 1 | Width;

export type StatusFlag = 'CF' | 'PF' | 'AF' | 'ZF' | 'SF' | 'OF';

/**
 * The six status flags as three 64-bit words (see flags.ts for the algebra):
 *   result  ZF = (result == 0)
 *   sign    SF = bit 63, PF = even parity of the low byte
 *   carry   CF = bit 63, OF = bit 63 xor bit 62, AF = bit 3
 */
export interface StatusWords<V> {
  readonly result: V;
  readonly sign: V;
  readonly carry: V;
}

/** What is known of an instruction when code for it is made. */
export interface Form {
  /** Operand size in bits. */
  readonly width: Width;
  readonly addressWidth: 16 | 32 | 64;
  readonly stackWidth: 16 | 32 | 64;
  /** Size of the code segment: 16, 32, or 64 in 64-bit mode. */
  readonly codeWidth: 16 | 32 | 64;
  /** The condition code of Jcc, SETcc and CMOVcc: 0 (O) to 15 (G); else undefined. */
  readonly condition: number | undefined;
  readonly repeat: 'rep' | 'repne' | undefined;
  readonly lock: boolean;
}

/** The named operations too large for this language; the emulator writes each once, see call(). */
export type OperationName =
  | 'cpuid'
  | 'hlt'
  | 'pause'
  | 'rdtsc'
  | 'rdtscp'
  | 'rdpmc'
  | 'rdmsr'
  | 'wrmsr'
  | 'readControlRegister'
  | 'writeControlRegister'
  | 'readDebugRegister'
  | 'writeDebugRegister'
  | 'clts'
  | 'lmsw'
  | 'smsw'
  | 'invlpg'
  | 'invpcid'
  | 'invd'
  | 'wbinvd'
  | 'loadDescriptorTable'
  | 'storeDescriptorTable'
  | 'loadTaskOrLocalTable'
  | 'storeTaskOrLocalTable'
  | 'verifySegment'
  | 'loadAccessRights'
  | 'loadSegmentLimit'
  | 'loadSegment'
  | 'loadFarPointer'
  | 'farJump'
  | 'farCall'
  | 'farReturn'
  | 'interrupt'
  | 'interruptReturn'
  | 'syscall'
  | 'sysret'
  | 'sysenter'
  | 'sysexit'
  | 'cli'
  | 'sti'
  | 'pushFlags'
  | 'popFlags'
  | 'clac'
  | 'stac'
  | 'swapgs'
  | 'readSegmentBase'
  | 'writeSegmentBase'
  | 'portIn'
  | 'portOut'
  | 'portInString'
  | 'portOutString'
  | 'monitor'
  | 'mwait'
  | 'xgetbv'
  | 'xsetbv'
  | 'rsm'
  | 'fxsave'
  | 'fxrstor'
  | 'vmcall'
  | 'vmmcall'
  | 'vmfunc'
  | 'vmxon'
  | 'vmxoff'
  | 'vmclear'
  | 'vmptrld'
  | 'vmptrst'
  | 'vmread'
  | 'vmwrite'
  | 'vmlaunch'
  | 'vmresume'
  | 'invept'
  | 'invvpid'
  | 'bound'
  | 'rdrand'
  | 'rdseed'
  | 'getsec';

export interface Semantics<V> {
  readonly form: Form;

  // Values. Both sides of a binary operation have one width; results wrap around in it.
  constant(value: bigint | number, width: ValueWidth): V;
  widthOf(value: V): ValueWidth;
  add(a: V, b: V): V;
  subtract(a: V, b: V): V;
  multiply(a: V, b: V): V;
  /** The upper half of the double-width product. Width 32 or 64. */
  multiplyHigh(signed: boolean, a: V, b: V): V;
  and(a: V, b: V): V;
  or(a: V, b: V): V;
  xor(a: V, b: V): V;
  not(a: V): V;
  negate(a: V): V;
  /** Shift counts are of the value's width and taken modulo 64 (width 64) or 32 (all others). */
  shiftLeft(a: V, count: V): V;
  shiftRight(a: V, count: V): V;
  shiftRightSigned(a: V, count: V): V;
  /** Width 32 or 64; the count is taken modulo the width. */
  rotateLeft(a: V, count: V): V;
  rotateRight(a: V, count: V): V;
  countOnes(a: V): V;
  /** Width 32 or 64; the width itself if the value is 0. */
  countLeadingZeros(a: V): V;
  countTrailingZeros(a: V): V;
  equal(a: V, b: V): V;
  lessUnsigned(a: V, b: V): V;
  lessSigned(a: V, b: V): V;
  isZero(a: V): V;
  zeroExtend(a: V, width: Width): V;
  signExtend(a: V, width: Width): V;
  truncate(a: V, width: ValueWidth): V;
  select(condition: V, ifTrue: V, ifFalse: V): V;
  /** The same value, evaluated once here; use it for what is used more than once. */
  bind(a: V): V;

  // Operands. A memory operand may fault. `read` of operand 0 of an instruction whose access is
  // 'readWrite' asks for write permission, so that the later `write` cannot fault.
  read(operand: Operand, width?: Width): V;
  write(operand: Operand, value: V): void;
  /** The effective address (the offset in its segment), 64 bits wide, cut to the address width. */
  addressOf(operand: MemoryOperand): V;
  /** A general register by number, its low `width` bits (never AH..BH). */
  register(register: number, width: Width): V;
  /** Writes the low bits; a 32-bit value clears the upper half, 8 and 16 bits keep the rest. */
  setRegister(register: number, value: V): void;

  // Memory by segment and 64-bit offset.
  load(segment: SegmentRegister, offset: V, width: Width): V;
  /** As load, but asks for write permission; a store to the same place then cannot fault. */
  loadForUpdate(segment: SegmentRegister, offset: V, width: Width): V;
  store(segment: SegmentRegister, offset: V, value: V): void;

  // Flags.
  flag(flag: StatusFlag): V;
  statusWords(): StatusWords<V>;
  setStatusWords(words: StatusWords<V>): void;
  /** The condition of Jcc, SETcc, CMOVcc by its number, 0 (O) to 15 (G). */
  condition(condition: number): V;
  /** EFLAGS.DF as a condition. */
  directionFlag(): V;
  setDirectionFlag(value: V): void;

  // Control.
  /** RIP of the next instruction, 64 bits wide. */
  nextInstruction(): V;
  jump(target: Operand | V): void;
  /** Jumps if the condition holds, else goes on. Nothing may follow it. */
  branch(condition: V, target: Operand): void;
  when(condition: V, then: () => void): void;
  /** Raises a fault; nothing may have been written. An error code of 0 is pushed where due. */
  raise(exception: ExceptionName): void;
  /**
   * Quotient and remainder of `high:low / divisor`, all of the divisor's width.
   * Raises #DE for a divisor of 0 and for a quotient that does not fit.
   */
  divideWide(signed: boolean, high: V, low: V, divisor: V): { quotient: V; remainder: V };
  /**
   * One iteration of a string instruction: `body` moves one element. With a REP prefix the body
   * repeats while rCX is not 0 and, if `until` is given, the ZF it left allows it (REPE, REPNE).
   * Each iteration is a restart point. Without a prefix the body runs once.
   */
  repeatString(body: () => void, until: 'zf' | undefined): void;
  /**
   * A named operation of the emulator, with 64-bit wide arguments. It is the last thing that a
   * meaning does: it completes the instruction, faults, or makes a VM exit.
   */
  call(operation: OperationName, ...operands: readonly V[]): void;
}
