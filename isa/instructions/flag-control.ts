/** Flag control and the instructions that do nothing: SDM Vol. 1 5.1.11, 5.1.13. */
import { withCarry } from '../flags.ts';
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Semantics } from '../semantics.ts';

const carry = (
  mnemonic: 'clc' | 'stc' | 'cmc',
  title: string,
  value: <V>(s: Semantics<V>) => V,
): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    writesFlags: ['CF'],
    semantics(s) {
      const words = withCarry(s, s.statusWords(), value(s));
      s.setStatusWords({ ...words, carry: s.bind(words.carry) });
    },
  });

const direction = (mnemonic: 'cld' | 'std', value: 0 | 1): Instruction =>
  defineInstruction({
    mnemonic,
    title: value === 0 ? 'Clear Direction Flag' : 'Set Direction Flag',
    access: 'none',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    semantics(s) {
      s.setDirectionFlag(s.constant(value, 1));
    },
  });

const interruptFlag = (mnemonic: 'cli' | 'sti' | 'clac' | 'stac', title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    endsBlock: true,
    semantics(s) {
      s.call(mnemonic);
    },
  });

/** LAHF and SAHF: AH holds SF, ZF, AF, PF and CF where RFLAGS has them. */
const AH_BITS = [
  ['CF', 0],
  ['PF', 2],
  ['AF', 4],
  ['ZF', 6],
  ['SF', 7],
] as const;

const lahf = defineInstruction({
  mnemonic: 'lahf',
  title: 'Load Status Flags Into AH Register',
  access: 'none',
  source: 'SDM Vol. 2A, LAHF',
  readsFlags: ['CF', 'PF', 'AF', 'ZF', 'SF'],
  semantics(s) {
    let byte = s.constant(2, 32);
    for (const [flag, position] of AH_BITS) {
      const bit = s.zeroExtend(s.flag(flag), 32);
      byte = s.or(byte, s.shiftLeft(bit, s.constant(position, 32)));
    }
    const low = s.zeroExtend(s.register(0, 8), 32);
    const ax = s.or(low, s.shiftLeft(byte, s.constant(8, 32)));
    s.setRegister(0, s.truncate(ax, 16));
  },
});

const sahf = defineInstruction({
  mnemonic: 'sahf',
  title: 'Store AH Into Flags',
  access: 'none',
  source: 'SDM Vol. 2B, SAHF',
  readsFlags: ['OF'],
  writesFlags: ['CF', 'PF', 'AF', 'ZF', 'SF'],
  semantics(s) {
    const ax = s.bind(s.zeroExtend(s.register(0, 16), 64));
    const bitOf = (position: number) =>
      s.and(s.shiftRight(ax, s.constant(position + 8, 64)), s.constant(1, 64));
    const one = s.constant(1, 64);
    const cf = s.bind(bitOf(0));
    const of = s.zeroExtend(s.flag('OF'), 64);
    const signBit = s.shiftLeft(bitOf(7), s.constant(63, 64));
    const carries = s.or(
      s.shiftLeft(cf, s.constant(63, 64)),
      s.shiftLeft(s.xor(cf, of), s.constant(62, 64)),
    );
    s.setStatusWords({
      result: s.bind(s.xor(bitOf(6), one)),
      sign: s.bind(s.or(signBit, s.xor(bitOf(2), one))),
      carry: s.bind(s.or(carries, s.shiftLeft(bitOf(4), s.constant(3, 64)))),
    });
  },
});

const nothing = (mnemonic: string, title: string): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: `SDM Vol. 2, ${mnemonic.toUpperCase()}`,
    semantics() {
      // Order, caches and prediction have no effect that can be seen here.
    },
  });

/** CLFLUSH accesses its line as a load of one byte does; that nothing is flushed cannot be seen. */
const clflush = defineInstruction({
  mnemonic: 'clflush',
  title: 'Flush Cache Line',
  access: 'read',
  source: 'SDM Vol. 2A, CLFLUSH',
  semantics(s, line) {
    s.bind(s.read(line, 8));
  },
});

export const flagControl: readonly Instruction[] = [
  carry('clc', 'Clear Carry Flag', (s) => s.constant(0, 1)),
  carry('stc', 'Set Carry Flag', (s) => s.constant(1, 1)),
  carry('cmc', 'Complement Carry Flag', (s) => s.not(s.flag('CF'))),
  direction('cld', 0),
  direction('std', 1),
  interruptFlag('cli', 'Clear Interrupt Flag'),
  interruptFlag('sti', 'Set Interrupt Flag'),
  interruptFlag('clac', 'Clear AC Flag in EFLAGS Register'),
  interruptFlag('stac', 'Set AC Flag in EFLAGS Register'),
  lahf,
  sahf,
  nothing('nop', 'No Operation'),
  nothing('endbr32', 'Terminate an Indirect Branch in 32-bit Mode'),
  nothing('endbr64', 'Terminate an Indirect Branch in 64-bit Mode'),
  nothing('reservednop', 'Reserved No Operation'),
  nothing('prefetchnta', 'Prefetch Data Into Caches'),
  nothing('prefetcht0', 'Prefetch Data Into Caches'),
  nothing('prefetcht1', 'Prefetch Data Into Caches'),
  nothing('prefetcht2', 'Prefetch Data Into Caches'),
  nothing('prefetchw', 'Prefetch Data Into Caches in Anticipation of a Write'),
  nothing('prefetch', 'Prefetch Data Into Caches'),
  nothing('lfence', 'Load Fence'),
  nothing('mfence', 'Memory Fence'),
  nothing('sfence', 'Store Fence'),
  clflush,
];
