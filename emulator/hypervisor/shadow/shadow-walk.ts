/**
 * The walk of a linear address of a guest under shadow paging, for who looks: each entry of the
 * guest's tables, and beside it the shadow entry that the processor uses. Nothing is changed.
 */

import { linearNumber } from '../../cpu/paging.ts';
import type { WalkLevel, WalkResult } from '../../machine.ts';
import type { MachineMemory } from '../../memory/machine-memory.ts';
import type { XenVcpu } from '../domain.ts';
import { ENTRY_BITS, type PagingState, walkGuest } from '../guest-walk.ts';
import type { ShadowStep } from './shadow-paging.ts';

type GuestTable = 'PML4E' | 'PDPTE' | 'PDE' | 'PTE';
const TABLES: Readonly<Record<number, GuestTable>> = { 4: 'PML4E', 3: 'PDPTE', 2: 'PDE', 1: 'PTE' };
const PRESENT = 1n;
const WRITABLE = 2n;

/** A shadow entry comes after the guest's of its level; where the guest has none, by itself. */
export const walkShadowed = (
  memory: MachineMemory,
  { domain, id }: XenVcpu,
  state: PagingState,
  address: bigint,
): WalkResult => {
  const walk = walkGuest(memory, domain.p2m, state, address);
  const steps = domain.shadow?.path(id, linearNumber(walk.gva)) ?? [];
  const levels = [4, 3, 2, 1].flatMap((level): WalkLevel[] => {
    const table = TABLES[level];
    const guest = walk.levels.filter((one) => one.table === table);
    return [...guest, ...steps.filter((one) => one.level === level).map(levelOf)];
  });
  return { ...walk, levels, verdict: `${walk.verdict.replace(EPT, SHADOW)} ${verdictOf(steps)}` };
};

const EPT = 'an EPT violation';
const SHADOW = 'a shadow fault';

const levelOf = ({ level, maddr, entry }: ShadowStep): WalkLevel => ({
  table: `shadow ${TABLES[level] ?? 'PTE'}`,
  entryAddress: maddr,
  entry,
  bits: ENTRY_BITS.filter(([bit]) => (entry >> BigInt(bit)) & 1n).map(([, name]) => name),
  gpa: undefined,
});

const verdictOf = (steps: readonly ShadowStep[]): string => {
  const last = steps.at(-1);
  const isComplete = last?.level === 1 && (last.entry & PRESENT) !== 0n;
  if (!isComplete) return 'The shadow has no entry yet: the next access faults and fills it.';
  // The pointers of PAE paging have no rights.
  const entries = steps[0]?.level === 3 ? steps.slice(1) : steps;
  const mayWrite = entries.every(({ entry }) => (entry & WRITABLE) !== 0n);
  return mayWrite ? 'The shadow allows writes.' : 'The shadow does not allow writes.';
};
