/** Data transfer: SDM Vol. 1 5.1.1 "Data Transfer Instructions". */
import { flagsOfAddition, flagsOfSubtraction } from '../flags.ts';
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Width } from '../operands.ts';
import type { Semantics, StatusFlag, StatusWords } from '../semantics.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const ALL_FLAGS: readonly StatusFlag[] = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'];

const mov = defineInstruction({
  mnemonic: 'mov',
  title: 'Move',
  access: 'write',
  source: 'SDM Vol. 2B, MOV',
  exits: {
    when: 'conditionally',
    words: 'Moves to and from control and debug registers, as the VM-execution controls say.',
  },
  semantics(s, destination, source) {
    const number = (value: number) => s.constant(value, 64);
    if (destination.kind === 'segmentRegister') {
      const selector = s.zeroExtend(s.read(source, 16), 64);
      s.call('loadSegment', number(destination.register), selector, number(0));
    } else if (destination.kind === 'controlRegister' || destination.kind === 'debugRegister') {
      const control = destination.kind === 'controlRegister';
      const value = s.zeroExtend(s.read(source, s.form.codeWidth === 64 ? 64 : 32), 64);
      const operation = control ? 'writeControlRegister' : 'writeDebugRegister';
      const from = number(source.kind === 'register' ? source.register : 0);
      s.call(operation, number(destination.register), value, from);
    } else if (
      (source.kind === 'controlRegister' || source.kind === 'debugRegister') &&
      destination.kind === 'register'
    ) {
      const control = source.kind === 'controlRegister';
      const operation = control ? 'readControlRegister' : 'readDebugRegister';
      s.call(operation, number(source.register), number(destination.register));
    } else if (source.kind === 'segmentRegister') {
      const width = destination.kind === 'register' ? destination.width : 16;
      s.write(destination, s.truncate(s.zeroExtend(s.read(source, 16), 64), width));
    } else {
      s.write(destination, s.read(source, s.form.width));
    }
  },
});

const extension = (mnemonic: string, title: string, signed: boolean): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'write',
    source: `SDM Vol. 2B, ${mnemonic.toUpperCase()}`,
    semantics(s, destination, source) {
      const value = s.read(source);
      const { width } = s.form;
      s.write(destination, signed ? s.signExtend(value, width) : s.zeroExtend(value, width));
    },
  });

const cmovcc = defineInstruction({
  mnemonic: 'cmovcc',
  title: 'Conditional Move',
  access: 'readWrite',
  source: 'SDM Vol. 2A, CMOVcc',
  readsFlags: ['CF', 'PF', 'ZF', 'SF', 'OF'],
  semantics(s, destination, source) {
    const value = s.read(source);
    s.write(destination, s.select(s.condition(s.form.condition ?? 0), value, s.read(destination)));
  },
});

const xchg = defineInstruction({
  mnemonic: 'xchg',
  title: 'Exchange Register/Memory With Register',
  access: 'readWrite',
  source: 'SDM Vol. 2D, XCHG',
  lockable: true,
  semantics(s, first, second) {
    const a = s.read(first);
    const b = s.read(second);
    s.write(first, b);
    s.write(second, a);
  },
});

const xadd = defineInstruction({
  mnemonic: 'xadd',
  title: 'Exchange and Add',
  access: 'readWrite',
  source: 'SDM Vol. 2D, XADD',
  lockable: true,
  writesFlags: ALL_FLAGS,
  tier: 'precise',
  semantics(s, destination, source) {
    const a = s.read(destination);
    const b = s.read(source);
    const sum = s.bind(s.add(a, b));
    const words = flagsOfAddition(s, a, b, sum, s.form.width);
    // The source may be the base of the address; of XADD with itself the sum remains.
    if (destination.kind === 'memory') s.write(destination, sum);
    s.write(source, a);
    if (destination.kind !== 'memory') s.write(destination, sum);
    s.setStatusWords(words);
  },
});

const cmpxchg = defineInstruction({
  mnemonic: 'cmpxchg',
  title: 'Compare and Exchange',
  access: 'readWrite',
  source: 'SDM Vol. 2A, CMPXCHG',
  lockable: true,
  writesFlags: ALL_FLAGS,
  semantics(s, destination, source) {
    const { width } = s.form;
    const accumulator = s.register(RAX, width);
    const old = s.read(destination);
    const equal = s.bind(s.equal(accumulator, old));
    const difference = s.bind(s.subtract(accumulator, old));
    const words = flagsOfSubtraction(s, accumulator, old, difference, width);
    const kept = { ...words, carry: s.bind(words.carry) };
    s.write(destination, s.bind(s.select(equal, s.read(source), old)));
    s.when(s.not(equal), () => s.setRegister(RAX, old));
    s.setStatusWords(kept);
  },
});

/** The words with ZF replaced: `result` becomes 0 or not; SF and PF keep their own word. */
const withZero = <V>(s: Semantics<V>, zf: V): StatusWords<V> => {
  const words = s.statusWords();
  return { ...words, result: s.zeroExtend(s.not(zf), 64) };
};

const compareExchangePair = (mnemonic: 'cmpxchg8b' | 'cmpxchg16b', width: 32 | 64): Instruction =>
  defineInstruction({
    mnemonic,
    title: 'Compare and Exchange Bytes',
    access: 'readWrite',
    source: 'SDM Vol. 2A, CMPXCHG8B/CMPXCHG16B',
    lockable: true,
    tier: 'precise',
    writesFlags: ['ZF'],
    semantics(s, destination) {
      if (destination.kind !== 'memory') return;
      const offset = s.addressOf(destination);
      const above = s.add(offset, s.constant(width / 8, 64));
      if (width === 64) {
        s.when(s.not(s.isZero(s.and(offset, s.constant(15, 64)))), () => s.raise('GP'));
      }
      const low = s.loadForUpdate(destination.segment, offset, width);
      const high = s.loadForUpdate(destination.segment, above, width);
      const equal = s.and(
        s.equal(low, s.register(RAX, width)),
        s.equal(high, s.register(RDX, width)),
      );
      s.store(destination.segment, offset, s.select(equal, s.register(RBX, width), low));
      s.store(destination.segment, above, s.select(equal, s.register(RCX, width), high));
      s.when(s.not(equal), () => {
        s.setRegister(RAX, low);
        s.setRegister(RDX, high);
      });
      s.setStatusWords(withZero(s, equal));
    },
  });

const swapBytes = <V>(s: Semantics<V>, value: V, width: Width): V => {
  if (width === 16) {
    const wide = s.zeroExtend(value, 32);
    const eight = s.constant(8, 32);
    return s.truncate(s.or(s.shiftLeft(wide, eight), s.shiftRight(wide, eight)), 16);
  }
  const swapPairs = (from: V, by: number, mask: bigint): V => {
    const count = s.constant(by, width);
    const lanes = s.constant(BigInt.asUintN(width, mask), width);
    const up = s.shiftLeft(s.and(from, lanes), count);
    return s.bind(s.or(up, s.and(s.shiftRight(from, count), lanes)));
  };
  const bytes = swapPairs(value, 8, 0x00ff_00ff_00ff_00ffn);
  if (width === 32) return s.rotateLeft(bytes, s.constant(16, 32));
  return s.rotateLeft(swapPairs(bytes, 16, 0x0000_ffff_0000_ffffn), s.constant(32, 64));
};

const bswap = defineInstruction({
  mnemonic: 'bswap',
  title: 'Byte Swap',
  access: 'readWrite',
  source: 'SDM Vol. 2A, BSWAP',
  semantics(s, destination) {
    const { width } = s.form;
    // A 16-bit operand is undefined; processors give 0.
    const value = s.read(destination);
    s.write(destination, width === 16 ? s.constant(0, 16) : s.bind(swapBytes(s, value, width)));
  },
});

const movbe = defineInstruction({
  mnemonic: 'movbe',
  title: 'Move Data After Swapping Bytes',
  access: 'write',
  source: 'SDM Vol. 2B, MOVBE',
  semantics(s, destination, source) {
    s.write(destination, s.bind(swapBytes(s, s.read(source), s.form.width)));
  },
});

/** CBW, CWDE, CDQE: rAX from its lower half. */
const widenAccumulator = (mnemonic: string, from: Width, to: Width): Instruction =>
  defineInstruction({
    mnemonic,
    title: 'Convert Byte to Word, Word to Doubleword, Doubleword to Quadword',
    access: 'none',
    source: 'SDM Vol. 2A, CBW/CWDE/CDQE',
    semantics(s) {
      s.setRegister(RAX, s.signExtend(s.register(RAX, from), to));
    },
  });

/** CWD, CDQ, CQO: rDX from the sign of rAX. */
const signIntoData = (mnemonic: string, width: Width): Instruction =>
  defineInstruction({
    mnemonic,
    title: 'Convert Word to Doubleword, Doubleword to Quadword',
    access: 'none',
    source: 'SDM Vol. 2A, CWD/CDQ/CQO',
    semantics(s) {
      const wide = s.signExtend(s.register(RAX, width), 64);
      s.setRegister(RDX, s.truncate(s.shiftRightSigned(wide, s.constant(63, 64)), width));
    },
  });

const lea = defineInstruction({
  mnemonic: 'lea',
  title: 'Load Effective Address',
  access: 'write',
  source: 'SDM Vol. 2A, LEA',
  semantics(s, destination, source) {
    if (source.kind !== 'memory') return;
    s.write(destination, s.truncate(s.addressOf(source), s.form.width));
  },
});

const xlatb = defineInstruction({
  mnemonic: 'xlatb',
  title: 'Table Look-up Translation',
  access: 'none',
  source: 'SDM Vol. 2D, XLAT/XLATB',
  semantics(s, table) {
    const width = s.form.addressWidth;
    const segment = table?.kind === 'memory' ? table.segment : 3;
    const index = s.zeroExtend(s.register(RAX, 8), width);
    const offset = s.zeroExtend(s.add(s.register(RBX, width), index), 64);
    s.setRegister(RAX, s.load(segment, offset, 8));
  },
});

export const dataTransfer: readonly Instruction[] = [
  mov,
  extension('movzx', 'Move With Zero-Extend', false),
  extension('movsx', 'Move With Sign-Extension', true),
  extension('movsxd', 'Move With Sign-Extension', true),
  cmovcc,
  xchg,
  xadd,
  cmpxchg,
  compareExchangePair('cmpxchg8b', 32),
  compareExchangePair('cmpxchg16b', 64),
  bswap,
  movbe,
  widenAccumulator('cbw', 8, 16),
  widenAccumulator('cwde', 16, 32),
  widenAccumulator('cdqe', 32, 64),
  signIntoData('cwd', 16),
  signIntoData('cdq', 32),
  signIntoData('cqo', 64),
  lea,
  xlatb,
];
