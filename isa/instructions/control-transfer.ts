/** Control transfer: SDM Vol. 1 5.1.7 "Control Transfer Instructions". */
import { defineInstruction, type Instruction } from '../instruction.ts';
import type { Operand } from '../operands.ts';
import { INTERRUPT_KIND } from '../operations.ts';
import type { Semantics } from '../semantics.ts';
import { popValue, pushValue, RSP, STACK } from './stack.ts';

const RCX = 1;

/** The far pointer of a jump or call: immediate, or in memory with the selector above the offset. */
const farTarget = <V>(s: Semantics<V>, target: Operand): { selector: V; offset: V } | undefined => {
  if (target.kind === 'farPointer') {
    return { selector: s.constant(target.selector, 64), offset: s.constant(target.offset, 64) };
  }
  if (target.kind !== 'memory') return undefined;
  const { width } = s.form;
  const at = s.addressOf(target);
  const offset = s.zeroExtend(s.load(target.segment, at, width), 64);
  const above = s.add(at, s.constant(width / 8, 64));
  return { selector: s.zeroExtend(s.load(target.segment, above, 16), 64), offset };
};

/** iced-x86 tells a far memory operand by its size, which is no power of two or a pointer's. */
const isFar = (target: Operand): boolean =>
  target.kind === 'farPointer' || (target.kind === 'memory' && target.width === 0);

const jmp = defineInstruction({
  mnemonic: 'jmp',
  title: 'Jump',
  access: 'read',
  source: 'SDM Vol. 2A, JMP',
  endsBlock: true,
  semantics(s, target) {
    if (!isFar(target)) {
      s.jump(target.kind === 'target' ? target : s.zeroExtend(s.read(target), 64));
      return;
    }
    const far = farTarget(s, target);
    if (far !== undefined) {
      s.call('farJump', far.selector, far.offset, s.constant(s.form.width, 64));
    }
  },
});

const jcc = defineInstruction({
  mnemonic: 'jcc',
  title: 'Jump if Condition Is Met',
  access: 'none',
  source: 'SDM Vol. 2A, Jcc',
  endsBlock: true,
  readsFlags: ['CF', 'PF', 'ZF', 'SF', 'OF'],
  semantics(s, target) {
    s.branch(s.condition(s.form.condition ?? 0), target);
  },
});

const call = defineInstruction({
  mnemonic: 'call',
  title: 'Call Procedure',
  access: 'read',
  source: 'SDM Vol. 2A, CALL',
  endsBlock: true,
  semantics(s, target) {
    if (isFar(target)) {
      const far = farTarget(s, target);
      if (far !== undefined) {
        s.call('farCall', far.selector, far.offset, s.constant(s.form.width, 64));
      }
      return;
    }
    const destination = target.kind === 'target' ? target : s.zeroExtend(s.read(target), 64);
    const width = s.form.codeWidth === 64 ? 64 : s.form.width;
    pushValue(s, s.truncate(s.nextInstruction(), width));
    s.jump(destination);
  },
});

const ret = defineInstruction({
  mnemonic: 'ret',
  title: 'Return From Procedure',
  access: 'none',
  source: 'SDM Vol. 2B, RET',
  endsBlock: true,
  semantics(s, release) {
    const width = s.form.codeWidth === 64 ? 64 : s.form.width;
    const { value, next } = popValue(s, width);
    const released =
      release === undefined
        ? next
        : s.add(next, s.truncate(s.zeroExtend(s.read(release, 16), 64), STACK(s)));
    s.setRegister(RSP, released);
    s.jump(s.zeroExtend(value, 64));
  },
});

const retf = defineInstruction({
  mnemonic: 'retf',
  title: 'Far Return From Procedure',
  access: 'none',
  source: 'SDM Vol. 2B, RET',
  endsBlock: true,
  semantics(s, release) {
    const bytes = release === undefined ? s.constant(0, 64) : s.zeroExtend(s.read(release, 16), 64);
    s.call('farReturn', bytes, s.constant(s.form.width, 64));
  },
});

const iret = defineInstruction({
  mnemonic: 'iret',
  title: 'Interrupt Return',
  access: 'none',
  source: 'SDM Vol. 2A, IRET/IRETD/IRETQ',
  endsBlock: true,
  semantics(s) {
    s.call('interruptReturn', s.constant(s.form.width, 64));
  },
});

const loop = (mnemonic: string, zf: boolean | undefined): Instruction =>
  defineInstruction({
    mnemonic,
    title: 'Loop According to ECX Counter',
    access: 'none',
    source: 'SDM Vol. 2A, LOOP/LOOPcc',
    endsBlock: true,
    semantics(s, target) {
      const width = s.form.addressWidth;
      const count = s.bind(s.subtract(s.register(RCX, width), s.constant(1, width)));
      const more = s.not(s.isZero(count));
      const flag = zf === undefined ? undefined : s.flag('ZF');
      const taken = flag === undefined ? more : s.and(more, zf === true ? flag : s.not(flag));
      const condition = s.bind(taken);
      s.setRegister(RCX, count);
      s.branch(condition, target);
    },
  });

const jumpIfCountZero = (mnemonic: string, width: 16 | 32 | 64): Instruction =>
  defineInstruction({
    mnemonic,
    title: 'Jump if Count Register Is Zero',
    access: 'none',
    source: 'SDM Vol. 2A, Jcc',
    endsBlock: true,
    semantics(s, target) {
      s.branch(s.isZero(s.register(RCX, width)), target);
    },
  });

const softwareInterrupt = (
  mnemonic: string,
  title: string,
  vector: number,
  kind: number,
): Instruction =>
  defineInstruction({
    mnemonic,
    title,
    access: 'none',
    source: 'SDM Vol. 2A, INT n/INTO/INT3/INT1',
    endsBlock: true,
    semantics(s, operand) {
      const number =
        operand?.kind === 'immediate'
          ? s.zeroExtend(s.read(operand, 8), 64)
          : s.constant(vector, 64);
      s.call('interrupt', number, s.constant(kind, 64));
    },
  });

const undefinedOpcode = (mnemonic: string): Instruction =>
  defineInstruction({
    mnemonic,
    title: 'Undefined Instruction',
    access: 'none',
    source: 'SDM Vol. 2B, UD',
    endsBlock: true,
    semantics(s) {
      s.raise('UD');
    },
  });

export const controlTransfer: readonly Instruction[] = [
  jmp,
  jcc,
  call,
  ret,
  retf,
  iret,
  loop('loop', undefined),
  loop('loope', true),
  loop('loopne', false),
  jumpIfCountZero('jcxz', 16),
  jumpIfCountZero('jecxz', 32),
  jumpIfCountZero('jrcxz', 64),
  softwareInterrupt('int', 'Call to Interrupt Procedure', 0, INTERRUPT_KIND.int),
  softwareInterrupt('int3', 'Breakpoint', 3, INTERRUPT_KIND.int3),
  softwareInterrupt('into', 'Overflow Trap', 4, INTERRUPT_KIND.into),
  softwareInterrupt('int1', 'Debug Trap', 1, INTERRUPT_KIND.int1),
  undefinedOpcode('ud0'),
  undefinedOpcode('ud1'),
  undefinedOpcode('ud2'),
];
