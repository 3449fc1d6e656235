/**
 * Who runs next on a pCPU. A policy sees the candidates and keeps its own accounts, which are
 * plain data, so that they can be saved.
 */
import type { XenVcpu } from '../domain.ts';

export interface Scheduler {
  readonly name: string;
  /**
   * The vCPU to run next on `pcpu`, of the candidates: runnable, allowed on this pCPU, not running
   * elsewhere; undefined if there are none.
   */
  pick(candidates: readonly XenVcpu[], pcpu: number): XenVcpu | undefined;
  /** Told after each turn, with the time that the vCPU used. */
  charge(vcpu: XenVcpu, usedNs: number): void;
  save(): SchedulerAccounts;
  restore(accounts: SchedulerAccounts): void;
}

/** Numbers by 'd1v0'. */
export type SchedulerAccounts = Readonly<Record<string, number>>;

export const keyOf = ({ domain, id }: XenVcpu): string => `d${domain.id}v${id}`;
