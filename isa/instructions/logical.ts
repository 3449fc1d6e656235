/** Logical instructions: SDM Vol. 1 5.1.4 "Logical Instructions". */
import { flagsOfLogic } from '../flags.ts';
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Semantics } from '../semantics.ts';

type Operation = <V>(s: Semantics<V>, a: V, b: V) => V;

const logic = (
  mnemonic: string,
  title: string,
  volume: string,
  operation: Operation,
  writes: boolean,
): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: writes ? 'readWrite' : 'read',
    source: `SDM Vol. ${volume}, ${mnemonic.toUpperCase()}`,
    writesFlags: ['CF', 'PF', 'ZF', 'SF', 'OF'],
    undefinedFlags: ['AF'],
    lockable: writes,
    semantics(s, destination, source) {
      const result = s.bind(operation(s, s.read(destination), s.read(source, s.form.width)));
      if (writes) s.write(destination, result);
      s.setStatusWords(flagsOfLogic(s, result));
    },
  });

const not = defineInstruction({
  mnemonic: 'not',
  title: "One's Complement Negation",
  access: 'readWrite',
  source: 'SDM Vol. 2B, NOT',
  lockable: true,
  semantics(s, destination) {
    s.write(destination, s.not(s.read(destination)));
  },
});

export const logical: readonly Instruction[] = [
  logic('and', 'Logical AND', '2A', (s, a, b) => s.and(a, b), true),
  logic('or', 'Logical Inclusive OR', '2B', (s, a, b) => s.or(a, b), true),
  logic('xor', 'Logical Exclusive OR', '2D', (s, a, b) => s.xor(a, b), true),
  logic('test', 'Logical Compare', '2D', (s, a, b) => s.and(a, b), false),
  not,
];
