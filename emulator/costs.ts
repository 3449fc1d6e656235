/**
 * What a domain has cost in simulated cycles, so that ways of virtualization can be compared. One
 * instruction is one cycle; what comes on top are the transitions and the TLB misses, at published
 * costs. The hypervisor's own work between two transitions is not counted.
 *
 * Sources: Agesen et al., "Software Techniques for Avoiding Hardware Virtualization Exits", USENIX ATC
 * 2012 (round trip of a VM exit: 784 cycles on Sandy Bridge); Adams and Agesen, "A Comparison of
 * Software and Hardware Techniques for x86 Virtualization", ASPLOS 2006 (SYSCALL and back: 242, an
 * exception and back: 889); Bhargava et al., "Accelerating Two-Dimensional Page Walks for Virtualized
 * Systems", ASPLOS 2008 (up to 24 references for a nested walk, 4 for a plain one); the latency of a
 * reference is that of the second-level cache, 12 cycles, in Intel's Optimization Reference Manual.
 */
import type { Domain } from './machine.ts';

export interface Cost {
  readonly name: string;
  readonly count: number;
  readonly cyclesEach: number;
}

export const CYCLES = {
  instruction: 1,
  vmExit: 784,
  systemCall: 242,
  exception: 889,
  reference: 12,
} as const;

const REFERENCES = { plain: 4, nested: 24 } as const;

/** The parts that are not zero; `tlbMisses` undefined: they have not been counted. */
export const costsOf = ({ type, paging, vcpus, exitCounts, tlbMisses }: Domain): Cost[] => {
  const retired = vcpus.reduce((sum, vcpu) => sum + vcpu.retired, 0);
  const all = [...exitCounts].reduce((sum, [, count]) => sum + count, 0);
  const calls = (exitCounts.get('SYSCALL') ?? 0) + (exitCounts.get('SYSENTER') ?? 0);
  const references = paging === 'hap' ? REFERENCES.nested : REFERENCES.plain;
  const transitions: Cost[] =
    type === 'pv'
      ? [
          { name: 'SYSCALL and back', count: calls, cyclesEach: CYCLES.systemCall },
          { name: 'exception and back', count: all - calls, cyclesEach: CYCLES.exception },
        ]
      : [{ name: 'VM exit and entry', count: all, cyclesEach: CYCLES.vmExit }];
  const misses =
    tlbMisses === undefined
      ? []
      : [{ name: 'TLB miss', count: tlbMisses, cyclesEach: references * CYCLES.reference }];
  return [
    { name: 'instruction', count: retired, cyclesEach: CYCLES.instruction },
    ...transitions,
    ...misses,
  ].filter(({ count }) => count > 0);
};

export const totalOf = (costs: readonly Cost[]): number =>
  costs.reduce((sum, { count, cyclesEach }) => sum + count * cyclesEach, 0);
