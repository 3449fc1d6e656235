/** The stack: PUSH, POP and their kin. SDM Vol. 1 6.2 "Stacks". */
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Width } from '../operands.ts';
import type { Semantics } from '../semantics.ts';

export const RSP = 4;
const RBP = 5;
const SS = 2;

/** The width of the stack pointer. */
export const STACK = <V>(s: Semantics<V>): 16 | 32 | 64 => s.form.stackWidth;

/** Pushes a value of 16, 32 or 64 bits; the store comes before RSP, so that a fault restarts. */
export const pushValue = <V>(s: Semantics<V>, value: V): void => {
  const width = STACK(s);
  const bytes = s.constant(s.widthOf(value) / 8, width);
  const top = s.bind(s.subtract(s.register(RSP, width), bytes));
  s.store(SS, s.zeroExtend(top, 64), value);
  s.setRegister(RSP, top);
};

/** Reads the value on top; `next` is the stack pointer after the pop, not yet written. */
export const popValue = <V>(s: Semantics<V>, width: Width): { value: V; next: V } => {
  const pointer = STACK(s);
  const top = s.register(RSP, pointer);
  const value = s.load(SS, s.zeroExtend(top, 64), width);
  return { value, next: s.bind(s.add(top, s.constant(width / 8, pointer))) };
};

/** PUSH and POP of 32-bit operands do not exist in 64-bit mode. */
const stackOperandWidth = <V>(s: Semantics<V>): Width => {
  const { width, codeWidth } = s.form;
  if (width === 16) return 16;
  return codeWidth === 64 ? 64 : 32;
};

const push = defineInstruction({
  mnemonic: 'push',
  title: 'Push Word, Doubleword, or Quadword Onto the Stack',
  access: 'read',
  source: 'SDM Vol. 2B, PUSH',
  semantics(s, source) {
    const width = stackOperandWidth(s);
    const value =
      source.kind === 'segmentRegister'
        ? s.truncate(s.zeroExtend(s.read(source, 16), 64), width)
        : s.read(source, width);
    pushValue(s, s.bind(value));
  },
});

const pop = defineInstruction({
  mnemonic: 'pop',
  title: 'Pop a Value From the Stack',
  access: 'write',
  source: 'SDM Vol. 2B, POP',
  semantics(s, destination) {
    const width = stackOperandWidth(s);
    if (destination.kind === 'segmentRegister') {
      const { value } = popValue(s, width);
      const selector = s.zeroExtend(s.truncate(value, 16), 64);
      s.call(
        'loadSegment',
        s.constant(destination.register, 64),
        selector,
        s.constant(width / 8, 64),
      );
      return;
    }
    const { value, next } = popValue(s, width);
    if (destination.kind !== 'memory') {
      s.setRegister(RSP, next);
      s.write(destination, value);
      return;
    }
    // The address is computed after RSP has been incremented.
    const bytes = s.constant(destination.base === RSP ? width / 8 : 0, 64);
    const { addressWidth } = s.form;
    const sum = s.add(s.addressOf(destination), bytes);
    const offset = s.bind(s.zeroExtend(s.truncate(sum, addressWidth), 64));
    s.store(destination.segment, offset, value);
    s.setRegister(RSP, next);
  },
});

const enter = defineInstruction({
  mnemonic: 'enter',
  title: 'Make Stack Frame for Procedure Parameters',
  access: 'none',
  source: 'SDM Vol. 2A, ENTER',
  tier: 'precise',
  semantics(s, size, level) {
    if (size?.kind !== 'immediate' || level?.kind !== 'immediate') return;
    const width = stackOperandWidth(s);
    const pointer = STACK(s);
    const step = s.constant(width / 8, pointer);
    const depth = Number(level.value & 31n);
    let top = s.subtract(s.register(RSP, pointer), step);
    s.store(SS, s.zeroExtend(top, 64), s.register(RBP, width));
    const frame = top;
    let outer = s.register(RBP, pointer);
    for (let i = 1; i < depth; i += 1) {
      outer = s.subtract(outer, step);
      const link = s.load(SS, s.zeroExtend(outer, 64), width);
      top = s.subtract(top, step);
      s.store(SS, s.zeroExtend(top, 64), link);
    }
    if (depth > 0) {
      top = s.subtract(top, step);
      s.store(SS, s.zeroExtend(top, 64), s.truncate(s.zeroExtend(frame, 64), width));
    }
    const reserved = s.constant(size.value & 0xffffn, pointer);
    // The final top of the stack must be writable, too: SDM Vol. 2A, ENTER, #PF.
    s.loadForUpdate(SS, s.zeroExtend(s.subtract(top, reserved), 64), width);
    s.setRegister(RBP, s.truncate(s.zeroExtend(frame, 64), width));
    s.setRegister(RSP, s.subtract(top, reserved));
  },
});

const leave = defineInstruction({
  mnemonic: 'leave',
  title: 'High Level Procedure Exit',
  access: 'none',
  source: 'SDM Vol. 2A, LEAVE',
  semantics(s) {
    const width = stackOperandWidth(s);
    const pointer = STACK(s);
    const frame = s.register(RBP, pointer);
    const saved = s.load(SS, s.zeroExtend(frame, 64), width);
    const next = s.bind(s.add(frame, s.constant(width / 8, pointer)));
    s.setRegister(RSP, next);
    s.setRegister(RBP, saved);
  },
});

const pusha = defineInstruction({
  mnemonic: 'pusha',
  title: 'Push All General-Purpose Registers',
  access: 'none',
  source: 'SDM Vol. 2B, PUSHA/PUSHAD',
  tier: 'precise',
  semantics(s) {
    const { width } = s.form;
    const pointer = STACK(s);
    let top = s.register(RSP, pointer);
    for (let register = 0; register < 8; register += 1) {
      top = s.subtract(top, s.constant(width / 8, pointer));
      s.store(SS, s.zeroExtend(top, 64), s.register(register, width));
    }
    s.setRegister(RSP, top);
  },
});

const popa = defineInstruction({
  mnemonic: 'popa',
  title: 'Pop All General-Purpose Registers',
  access: 'none',
  source: 'SDM Vol. 2B, POPA/POPAD',
  tier: 'precise',
  semantics(s) {
    const { width } = s.form;
    const pointer = STACK(s);
    let top = s.register(RSP, pointer);
    for (let register = 7; register >= 0; register -= 1) {
      const value = s.load(SS, s.zeroExtend(top, 64), width);
      if (register !== RSP) s.setRegister(register, value);
      top = s.add(top, s.constant(width / 8, pointer));
    }
    s.setRegister(RSP, top);
  },
});

const flagsOnStack = (mnemonic: 'pushf' | 'popf'): Instruction =>
  defineInstruction({
    mnemonic,
    title: mnemonic === 'pushf' ? 'Push RFLAGS Onto the Stack' : 'Pop Stack Into RFLAGS',
    access: 'none',
    source: 'SDM Vol. 2B, PUSHF/POPF',
    endsBlock: true,
    semantics(s) {
      s.call(mnemonic === 'pushf' ? 'pushFlags' : 'popFlags', s.constant(s.form.width, 64));
    },
  });

export const stack: readonly Instruction[] = [
  push,
  pop,
  enter,
  leave,
  pusha,
  popa,
  flagsOnStack('pushf'),
  flagsOnStack('popf'),
];
