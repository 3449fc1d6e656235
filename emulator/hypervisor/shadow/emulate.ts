/**
 * Completes an instruction, or the delivery of an event, that the shadow tables must not let through:
 * a write to a table that is shadowed, an access where there is no memory, a write that only a clear
 * CR0.WP allows. The processor itself executes it, with the entries of the addresses opened for this
 * one step; then they are closed, and what was written to tables is taken over into the shadow.
 */
import { type Gfn, maddrOf, mfnOf } from '../../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../../memory/machine-memory.ts';
import { type ExitContext, hasInjection, injectInterrupted } from '../exits/exit.ts';
import { loadShadowRoot } from '../guest-control.ts';
import { endDomain, type Hypervisor } from '../hypervisor.ts';
import type { P2m } from '../p2m.ts';
import type { ShadowDiagnosis, ShadowFault } from './faults.ts';
import type { Opening, ShadowPaging } from './shadow-paging.ts';

/** One instruction touches few pages: two operands and its stack, each over two, and their tables. */
const MOST_FAULTS = 64;
const WORDS = 1024;
/** So many entries at once are the end of a table, not a change of it. */
const MANY_ENTRIES = 16;

/** What to do about a VM exit of the step. */
export type NextFault =
  /** The step is tried again. */
  | { readonly kind: 'resolved' }
  /** So it is, with one more address open. */
  | { readonly kind: 'open'; readonly fault: ShadowFault; readonly diagnosis: OpenedAccess }
  /** The guest has got an exception, the domain has ended, or the exit is the next to be handled. */
  | { readonly kind: 'over' };

export type OpenedAccess = Exclude<ShadowDiagnosis, { kind: 'guest' }>;

interface ChangedTable {
  readonly gfn: number;
  readonly host: number;
  readonly before: Int32Array;
}

/** Begins with an access to open; `next` takes each VM exit of the step. */
export const emulateStep = (
  context: ExitContext,
  shadow: ShadowPaging,
  first: { readonly fault: ShadowFault; readonly diagnosis: OpenedAccess },
  next: () => NextFault,
): void => {
  const { hypervisor, vcpu } = context;
  const { memory } = hypervisor.hardware;
  const openings: Opening[] = [];
  const tables: ChangedTable[] = [];
  const open = ({ fault, diagnosis }: typeof first): void => {
    const gfn = Math.floor(diagnosis.gpa / 4096);
    const isMissing = diagnosis.kind === 'p2m';
    if (!isMissing && !tables.some((table) => table.gfn === gfn)) {
      tables.push(...tableOf(memory, vcpu.domain.p2m, gfn));
    }
    const substitute = isMissing ? pageOfOnes(hypervisor, openings.length === 0) : undefined;
    openings.push(shadow.open(vcpu.id, fault.linear, substitute));
  };
  open(first);
  for (let faults = 0; runStep(context) === 'exit'; faults += 1) {
    const fault = faults < MOST_FAULTS ? next() : tooMany(context);
    if (fault.kind === 'over') break;
    if (fault.kind === 'open') open(fault);
  }
  for (const opening of openings.reverse()) opening.close();
  for (const table of tables) {
    if (follow(memory, shadow, table)) vcpu.domain.tableUpdates += 1;
  }
};

const tooMany = ({ hypervisor, vcpu }: ExitContext): NextFault => {
  endDomain(
    hypervisor,
    vcpu,
    'crash',
    `An instruction needs more than ${MOST_FAULTS} pages at once.`,
  );
  return { kind: 'over' };
};

/**
 * VM entry, and the instruction, or just the delivery of the event that was interrupted. Of a repeated
 * instruction it is one iteration: the next may depend on what this one writes to a table.
 */
const runStep = (context: ExitContext): string => {
  const { hypervisor, vcpu } = context;
  const { hardware } = hypervisor;
  loadShadowRoot(hypervisor, vcpu);
  injectInterrupted(context);
  const isDelivery = hasInjection(context);
  const problem = hardware.enter();
  if (problem !== undefined) {
    endDomain(hypervisor, vcpu, 'crash', `VM entry failed: ${problem}`);
    return 'failed';
  }
  const stop = isDelivery ? hardware.run(0) : hardware.step(true);
  vcpu.retired += hardware.retired;
  return stop;
};

/** What is read where there is no memory; what was written there before is lost. */
const pageOfOnes = ({ hardware, standIns }: Hypervisor, isFirst: boolean) => {
  if (isFirst) {
    const host = hostAddressOf(standIns.written);
    hardware.memory.bytes.fill(0xff, host, host + 4096);
    hardware.noteWrite(standIns.written, 4096);
  }
  return mfnOf(standIns.written);
};

const tableOf = ({ words }: MachineMemory, p2m: P2m, gfn: number): ChangedTable[] => {
  const { mfn } = p2m.lookup(gfn as Gfn);
  if (mfn === undefined) return [];
  const host = hostAddressOf(maddrOf(mfn));
  return [{ gfn, host, before: words.slice(host >>> 2, (host >>> 2) + WORDS) }];
};

/** Takes what has changed in a table over, or gives its shadow up; true if anything has. */
const follow = (
  { words }: MachineMemory,
  shadow: ShadowPaging,
  { gfn, host, before }: ChangedTable,
): boolean => {
  if (!shadow.isTable(gfn)) return false;
  const changed: number[] = [];
  for (let word = 0; word < WORDS; word += 1) {
    if (words[(host >>> 2) + word] !== before[word]) changed.push(word);
  }
  if (changed.length > MANY_ENTRIES) shadow.unshadow(gfn);
  else if (!shadow.countWrite(gfn)) {
    for (const word of changed) shadow.tableWritten(gfn, word * 4, word * 4 + 3);
  }
  return changed.length > 0;
};
