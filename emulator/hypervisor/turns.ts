/**
 * Turns: which vCPU runs on which pCPU, and for how long. The pCPUs take turns of one time slice
 * each, in order, on the one processor that there is; a round is a turn of each. A pCPU's clock is
 * the simulated time it has reached. Nothing depends on how the run is cut into budgets.
 */
import { isRunning, type XenVcpu } from './domain.ts';
import { raiseVirq, VIRQ_TIMER } from './event-channels.ts';
import { emit, type Hypervisor } from './hypervisor.ts';
import { nextTimerOf } from './local-apics.ts';
import type { Scheduler } from './schedulers/scheduler.ts';

export interface Pcpu {
  readonly id: number;
  clockNs: number;
  /** What is left of its turn. */
  turnNs: number;
  current: XenVcpu | undefined;
  last: XenVcpu | undefined;
  /** Time that the current vCPU has used. */
  usedNs: number;
}

export interface Turns {
  readonly pcpus: readonly Pcpu[];
  active: number;
}

export const createTurns = (pcpus: number, sliceNs: number): Turns => ({
  active: 0,
  pcpus: Array.from({ length: pcpus }, (_, id) => ({
    id,
    clockNs: 0,
    turnNs: sliceNs,
    current: undefined,
    last: undefined,
    usedNs: 0,
  })),
});

const allVcpus = ({ domains }: Hypervisor): XenVcpu[] =>
  [...domains.values()].flatMap(({ vcpus }) => vcpus);

const mayRun = (vcpu: XenVcpu): boolean => vcpu.state === 'runnable' && isRunning(vcpu.domain);

/** Raises VIRQ_TIMER of the vCPUs whose time has come; fires APIC timers and the hypervisor's own. */
export const fireTimers = (hypervisor: Hypervisor, nowNs: number): void => {
  if ((hypervisor.timers?.nextNs ?? Number.POSITIVE_INFINITY) <= nowNs) {
    hypervisor.nowNs = nowNs;
    hypervisor.timers?.fire(nowNs);
  }
  for (const domain of hypervisor.domains.values()) {
    for (const vcpu of domain.vcpus) {
      if (!isRunning(domain)) continue;
      if (vcpu.timerNs !== undefined && vcpu.timerNs <= nowNs) {
        vcpu.timerNs = undefined;
        raiseVirq(hypervisor, vcpu, VIRQ_TIMER);
      }
      if ((vcpu.apic?.nextNs ?? Number.POSITIVE_INFINITY) <= nowNs) vcpu.apic?.fire(nowNs);
    }
  }
};

/** Takes the current vCPU off the active pCPU. */
export const deschedule = (pcpu: Pcpu, scheduler: Scheduler): void => {
  const { current } = pcpu;
  if (current === undefined) return;
  scheduler.charge(current, pcpu.usedNs);
  current.clockNs = pcpu.clockNs;
  current.pcpu = undefined;
  pcpu.last = current;
  pcpu.current = undefined;
  pcpu.usedNs = 0;
};

/** Finds the next vCPU and pCPU to run; undefined if nothing can ever run again. */
export const schedule = (
  hypervisor: Hypervisor,
  turns: Turns,
  scheduler: Scheduler,
  sliceNs: number,
): Pcpu | undefined => {
  // Each turn of this loop uses time up, or finds a vCPU; two rounds without either are the end.
  for (;;) {
    const pcpu = turns.pcpus[turns.active];
    if (pcpu === undefined) throw new Error(`There is no pCPU ${turns.active}.`);
    if (pcpu.turnNs > 0) {
      fireTimers(hypervisor, pcpu.clockNs);
      if (pcpu.current !== undefined && mayRun(pcpu.current)) return pcpu;
      deschedule(pcpu, scheduler);
      const next = scheduler.pick(candidates(hypervisor, pcpu), pcpu.id);
      if (next !== undefined) {
        assign(hypervisor, pcpu, next);
        return pcpu;
      }
      idle(hypervisor, pcpu);
      continue;
    }
    deschedule(pcpu, scheduler);
    turns.active = (turns.active + 1) % turns.pcpus.length;
    if (turns.active === 0 && !beginRound(hypervisor, turns, sliceNs)) return undefined;
  }
};

const candidates = (hypervisor: Hypervisor, pcpu: Pcpu): XenVcpu[] =>
  allVcpus(hypervisor).filter(
    (vcpu) =>
      mayRun(vcpu) &&
      vcpu.pcpu === undefined &&
      vcpu.clockNs <= pcpu.clockNs &&
      (vcpu.domain.config.affinity?.includes(pcpu.id) ?? true),
  );

const assign = (hypervisor: Hypervisor, pcpu: Pcpu, vcpu: XenVcpu): void => {
  pcpu.current = vcpu;
  vcpu.pcpu = pcpu.id;
  hypervisor.nowNs = pcpu.clockNs;
  if (pcpu.last === vcpu || !hypervisor.events.wants('context-switch')) return;
  const from = pcpu.last && { domain: pcpu.last.domain.id, vcpu: pcpu.last.id };
  emit(hypervisor, vcpu, { kind: 'context-switch', pcpu: pcpu.id, from });
};

/** Passes time until the next timer within the turn, or its end. */
const idle = (hypervisor: Hypervisor, pcpu: Pcpu): void => {
  const end = pcpu.clockNs + pcpu.turnNs;
  const next = Math.min(end, nextTimer(hypervisor) ?? end, hypervisor.timers?.nextNs ?? end);
  const passed = Math.max(next - pcpu.clockNs, 1);
  pcpu.clockNs += passed;
  pcpu.turnNs -= passed;
};

const nextTimer = (hypervisor: Hypervisor): number | undefined => {
  let next: number | undefined;
  for (const vcpu of allVcpus(hypervisor)) {
    const own = isRunning(vcpu.domain) ? nextTimerOf(vcpu) : undefined;
    if (own !== undefined) next = Math.min(next ?? own, own);
  }
  return next;
};

/** Aligns the clocks; if nothing can run, jumps to the next timer. False if there is none. */
const beginRound = (hypervisor: Hypervisor, { pcpus }: Turns, sliceNs: number): boolean => {
  let start = Math.max(...pcpus.map(({ clockNs }) => clockNs));
  if (!allVcpus(hypervisor).some(mayRun)) {
    // The hypervisor's own timers alone keep no machine going, unless a domain waits for them.
    const isWaitedFor = hypervisor.memory?.balance.isWaitedFor === true;
    const next = nextTimer(hypervisor) ?? (isWaitedFor ? hypervisor.timers?.nextNs : undefined);
    if (next === undefined) return false;
    start = Math.max(start, next);
  }
  for (const pcpu of pcpus) {
    pcpu.clockNs = start;
    pcpu.turnNs = sliceNs;
  }
  return true;
};
