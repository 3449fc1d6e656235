/**
 * Task switches: what is checked before one, and the VM exit that it makes. The processor does none
 * itself; without VMX it is #GP.
 * Source: SDM Vol. 3C 25.4.2 "Treatment of Task Switches"; Vol. 3A 7.3 "Task Switching", Table 7-1.
 */
import { type Cpu, raise, TASK_SWITCH_SOURCE, type TaskSwitchSource } from './cpu.ts';
import { OUTCOME, type Outcome } from './processor.ts';
import { isPresent, readDescriptor } from './segmentation.ts';

const LOCAL = 4;
const TYPE_BITS = 0x1f;
const BUSY = 2;
const TSS_16 = 1;
const TSS_32 = 9;
const LAST_BYTE: Readonly<Record<number, number>> = { [TSS_16]: 0x2b, [TSS_32]: 0x67 };

/** Switches to the task of a TSS selector, whose privilege has been checked. */
export const switchTask = (cpu: Cpu, selector: number, source: TaskSwitchSource): Outcome => {
  const returns = source === TASK_SWITCH_SOURCE.iret;
  const exception = returns ? 'TS' : 'GP';
  const code = selector & 0xfffc;
  if (code === 0 || (selector & LOCAL) !== 0) return raise(cpu, exception, code);
  const task = readDescriptor(cpu, selector, exception);
  if ('failure' in task) return task.failure;
  const type = task.access & TYPE_BITS;
  const last = LAST_BYTE[type & ~BUSY];
  if (last === undefined || (type & BUSY) !== (returns ? BUSY : 0)) {
    return raise(cpu, exception, code);
  }
  if (!isPresent(task)) return raise(cpu, 'NP', code);
  if (task.limit < last) return raise(cpu, 'TS', code);
  if (cpu.nonRoot?.taskSwitch === undefined) return raise(cpu, 'GP', code);
  cpu.nonRoot.taskSwitch(selector, source);
  return OUTCOME.exit;
};
