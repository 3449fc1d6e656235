/** String instructions: SDM Vol. 1 5.1.8 "String Instructions". */
import { flagsOfSubtraction } from '../flags.ts';
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Operand, SegmentRegister, Width } from '../operands.ts';
import type { Semantics, StatusFlag } from '../semantics.ts';

const RAX = 0;
const RSI = 6;
const RDI = 7;
const ES: SegmentRegister = 0;
const DS: SegmentRegister = 3;
const ALL_FLAGS: readonly StatusFlag[] = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'];

const WIDTHS: readonly (readonly [string, Width])[] = [
  ['b', 8],
  ['w', 16],
  ['d', 32],
  ['q', 64],
];

/** The segment of the source string, which a prefix may override. */
const sourceSegment = (operands: readonly Operand[]): SegmentRegister => {
  const source = operands.find((one) => one.kind === 'memory' && one.base === RSI);
  return source?.kind === 'memory' ? source.segment : DS;
};

const pointer = <V>(s: Semantics<V>, register: number): V =>
  s.zeroExtend(s.register(register, s.form.addressWidth), 64);

/** Moves an index register by one element, in the direction of DF. */
const advance = <V>(s: Semantics<V>, register: number, width: Width): V => {
  const size = s.form.addressWidth;
  const bytes = s.constant(width / 8, size);
  const step = s.select(s.directionFlag(), s.negate(bytes), bytes);
  return s.bind(s.add(s.register(register, size), step));
};

const movs = (suffix: string, width: Width): Instruction =>
  defineInstruction({
    mnemonic: `movs${suffix}`,
    title: 'Move Data From String to String',
    access: 'none',
    source: 'SDM Vol. 2B, MOVS/MOVSB/MOVSW/MOVSD/MOVSQ',
    semantics(s, ...operands) {
      s.repeatString(() => {
        const element = s.load(sourceSegment(operands), pointer(s, RSI), width);
        const source = advance(s, RSI, width);
        const destination = advance(s, RDI, width);
        s.store(ES, pointer(s, RDI), element);
        s.setRegister(RSI, source);
        s.setRegister(RDI, destination);
      }, undefined);
    },
  });

const stos = (suffix: string, width: Width): Instruction =>
  defineInstruction({
    mnemonic: `stos${suffix}`,
    title: 'Store String',
    access: 'none',
    source: 'SDM Vol. 2B, STOS/STOSB/STOSW/STOSD/STOSQ',
    semantics(s) {
      s.repeatString(() => {
        const destination = advance(s, RDI, width);
        s.store(ES, pointer(s, RDI), s.register(RAX, width));
        s.setRegister(RDI, destination);
      }, undefined);
    },
  });

const lods = (suffix: string, width: Width): Instruction =>
  defineInstruction({
    mnemonic: `lods${suffix}`,
    title: 'Load String',
    access: 'none',
    source: 'SDM Vol. 2A, LODS/LODSB/LODSW/LODSD/LODSQ',
    semantics(s, ...operands) {
      s.repeatString(() => {
        const element = s.load(sourceSegment(operands), pointer(s, RSI), width);
        const source = advance(s, RSI, width);
        s.setRegister(RAX, element);
        s.setRegister(RSI, source);
      }, undefined);
    },
  });

const scas = (suffix: string, width: Width): Instruction =>
  defineInstruction({
    mnemonic: `scas${suffix}`,
    title: 'Scan String',
    access: 'none',
    source: 'SDM Vol. 2B, SCAS/SCASB/SCASW/SCASD',
    writesFlags: ALL_FLAGS,
    semantics(s) {
      s.repeatString(() => {
        const element = s.load(ES, pointer(s, RDI), width);
        const accumulator = s.register(RAX, width);
        const difference = s.bind(s.subtract(accumulator, element));
        s.setRegister(RDI, advance(s, RDI, width));
        s.setStatusWords(flagsOfSubtraction(s, accumulator, element, difference, width));
      }, 'zf');
    },
  });

const cmps = (suffix: string, width: Width): Instruction =>
  defineInstruction({
    mnemonic: `cmps${suffix}`,
    title: 'Compare String Operands',
    access: 'none',
    source: 'SDM Vol. 2A, CMPS/CMPSB/CMPSW/CMPSD/CMPSQ',
    writesFlags: ALL_FLAGS,
    semantics(s, ...operands) {
      s.repeatString(() => {
        const a = s.load(sourceSegment(operands), pointer(s, RSI), width);
        const b = s.load(ES, pointer(s, RDI), width);
        const difference = s.bind(s.subtract(a, b));
        const source = advance(s, RSI, width);
        const destination = advance(s, RDI, width);
        s.setRegister(RSI, source);
        s.setRegister(RDI, destination);
        s.setStatusWords(flagsOfSubtraction(s, a, b, difference, width));
      }, 'zf');
    },
  });

/** INS and OUTS: the operation does the iterations, since each may be a VM exit. */
const portString = (direction: 'ins' | 'outs', suffix: string, width: Width): Instruction =>
  defineInstruction({
    mnemonic: `${direction}${suffix}`,
    title: direction === 'ins' ? 'Input From Port to String' : 'Output String to Port',
    access: 'none',
    source: direction === 'ins' ? 'SDM Vol. 2A, INS/INSB/INSW/INSD' : 'SDM Vol. 2B, OUTS',
    exits: {
      when: 'conditionally',
      words: 'If "unconditional I/O exiting" is set, or the I/O bitmap has the port\'s bit.',
    },
    semantics(s, ...operands) {
      const number = (value: number) => s.constant(value, 64);
      const repeat = number(s.form.repeat === undefined ? 0 : 1);
      const address = number(s.form.addressWidth);
      if (direction === 'ins') s.call('portInString', number(width), address, repeat);
      else {
        s.call('portOutString', number(width), address, repeat, number(sourceSegment(operands)));
      }
    },
  });

export const string: readonly Instruction[] = [
  ...WIDTHS.flatMap(([suffix, width]) => [
    movs(suffix, width),
    stos(suffix, width),
    lods(suffix, width),
    scas(suffix, width),
    cmps(suffix, width),
  ]),
  ...WIDTHS.slice(0, 3).flatMap(([suffix, width]) => [
    portString('ins', suffix, width),
    portString('outs', suffix, width),
  ]),
];
