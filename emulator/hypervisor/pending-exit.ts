/**
 * What has entered the hypervisor, from its event to the return to the guest, step by step; and a VM
 * exit up to the VM entry after it.
 */
import type { EventKind, TrapEvent, VmExitEvent } from '../events.ts';
import type { ExitInProgress, ExitStep } from '../machine.ts';
import { type Gpa, gfnOf } from '../memory/addresses.ts';
import { exitReasonOf } from '../vmx/exit-reasons.ts';
import { count, type XenVcpu } from './domain.ts';
import { pendingVector, UPCALL } from './event-channels.ts';
import { findExitHandler } from './exits/catalog.ts';
import { answerCpuid, cpuid } from './exits/cpuid.ts';
import { accessOf } from './exits/ept-violation.ts';
import {
  type ExitContext,
  type ExitSteps,
  exitEvent,
  type HypervisorStep,
  hasInjection,
  injectInterrupted,
} from './exits/exit.ts';
import { explainExit } from './exits/explain.ts';
import { loadShadowRoot } from './guest-control.ts';
import {
  CR8_LOAD_EXITING,
  FIELD,
  INTERRUPT_WINDOW_EXITING,
  type QuickExit,
  RFLAGS_IF,
  type ViolationHandler,
} from './hardware.ts';
import { emit, endDomain, type Hypervisor } from './hypervisor.ts';
import { isRam, unitsOf } from './memory/units.ts';

const VALID = 1n << 31n;

/** Whoever takes the guest into the hypervisor tells this of it. */
export interface Entrance {
  readonly vcpu: XenVcpu;
  /** "VM exit 10 CPUID". */
  readonly title: string;
  /** "CPUID", 10; "#GP", 13. */
  readonly reason: string;
  readonly number: number;
  readonly event: VmExitEvent | TrapEvent;
  /** What happened, a line each. */
  readonly explain: () => readonly string[];
  readonly steps: ExitSteps;
  /** The step that ends it. */
  readonly wayBack: { readonly title: string; readonly detail: string };
}

export interface PendingExit extends Entrance {
  readonly shown: ExitStep[];
  coming: HypervisorStep | undefined;
}

/** Tells of it; its handler has not begun. */
export const openPending = (hypervisor: Hypervisor, entrance: Entrance): PendingExit => {
  const { event, vcpu } = entrance;
  vcpu.exits += 1;
  const { title, reason, number, explain, steps, wayBack } = entrance;
  // Not spread: that is as dear as all the rest of an exit.
  const pending: PendingExit = {
    vcpu,
    title,
    reason,
    number,
    event,
    explain,
    steps,
    wayBack,
    shown: [],
    coming: undefined,
  };
  const { events } = hypervisor;
  if (events.wants(event.kind) && events.emit(event) === 'stop') {
    hypervisor.stopRequest ??= { why: 'event', event };
  }
  pending.coming = takeNext(pending);
  return pending;
};

/** Takes the exit that is in the VMCS: counts it and tells of it; its handler has not begun. */
export const beginExit = (hypervisor: Hypervisor, vcpu: XenVcpu): PendingExit => {
  const { hardware } = hypervisor;
  const reason = Number(hardware.read(FIELD.EXIT_REASON) & 0xffffn);
  const context: ExitContext = {
    hypervisor,
    vcpu,
    reason,
    qualification: hardware.read(FIELD.EXIT_QUALIFICATION),
  };
  const handler = findExitHandler(reason);
  const name = exitReasonOf(reason)?.name ?? `EXIT_${reason}`;
  count(vcpu.domain.exitCounts, name);
  const event = exitEvent(context, name);
  return openPending(hypervisor, {
    vcpu,
    title: `VM exit ${reason} ${name}`,
    reason: name,
    number: reason,
    event,
    explain: () => explainExit(event),
    steps: handler?.handle(context) ?? unexpected(context),
    wayBack: { title: 'VM entry', detail: 'back to the guest' },
  });
};

/**
 * Exits that are handled within run(): CPUID, if nobody listens. It counts as every exit; the
 * processor counts the instruction.
 */
export const quickExitOf =
  (hypervisor: Hypervisor): QuickExit =>
  (reason, record) => {
    const { hardware, events } = hypervisor;
    const vcpu = hardware.loaded;
    if (reason !== cpuid.number || vcpu === undefined) return false;
    if (hypervisor.showsExits === true) return false;
    if (events.wants('vm-exit') || events.wants('vm-entry')) return false;
    record();
    vcpu.exits += 1;
    count(vcpu.domain.exitCounts, 'CPUID');
    answerCpuid(hardware, vcpu);
    return true;
  };

/** An event of these kinds would have to be told of while a guest runs. */
const TOLD: readonly EventKind[] = [
  'vm-exit',
  'vm-entry',
  'ept-violation',
  'p2m-change',
  'page-shared',
  'page-unshared',
  'page-swapped',
  'log-dirty',
  'domain',
];

/**
 * EPT violations that are handled within run(): RAM that has no frame, or none of its own, if nobody
 * listens. Each counts as every exit.
 */
export const violationHandlerOf = (hypervisor: Hypervisor): ViolationHandler => {
  const { hardware, events } = hypervisor;
  let seen = -1;
  let isTold = false;
  return (gpa, qualification) => {
    if (seen !== events.changes) {
      seen = events.changes;
      isTold = events.wantsAny(TOLD);
    }
    const vcpu = hardware.loaded;
    if (vcpu === undefined || isTold || hypervisor.showsExits === true) return false;
    const gfn = gfnOf(gpa as Gpa);
    const { domain } = vcpu;
    const type = domain.p2m.typeOf(gfn);
    if (type === 'ram' || !isRam(type)) return false;
    const access = accessOf(qualification);
    if (unitsOf(hypervisor).prepare(domain, gfn, access) !== 'ready') return false;
    vcpu.exits += 1;
    count(domain.exitCounts, 'EPT_VIOLATION');
    return true;
  };
};

/** Does the step that comes next; false when the handler is through. */
export const advanceExit = (pending: PendingExit): boolean => {
  const { coming } = pending;
  if (coming === undefined) return false;
  pending.shown.push({ title: coming.title, detail: coming.detail(), done: true });
  pending.coming = takeNext(pending);
  return pending.coming !== undefined;
};

/** Does all steps; returns early, false, if an observer stops the machine between two. */
export const drainExit = (hypervisor: Hypervisor, pending: PendingExit): boolean => {
  while (pending.coming !== undefined) {
    pending.coming = takeNext(pending);
    if (hypervisor.stopRequest?.why === 'event' && pending.coming !== undefined) return false;
  }
  return true;
};

const takeNext = ({ steps }: PendingExit): HypervisorStep | undefined => {
  const { done, value } = steps.next();
  return done === true ? undefined : (value as HypervisorStep);
};

function* unexpected({ hypervisor, vcpu, reason }: ExitContext): ExitSteps {
  yield { title: 'End the domain', detail: () => 'the hypervisor has no handler for this exit' };
  endDomain(hypervisor, vcpu, 'crash', `Basic VM-exit reason ${reason} was not expected.`);
}

/** What the debugger shows of it. */
export const viewExit = ({
  vcpu,
  shown,
  coming,
  wayBack,
  ...rest
}: PendingExit): ExitInProgress => ({
  domain: vcpu.domain.id,
  vcpu: vcpu.id,
  title: rest.title,
  reason: rest.reason,
  number: rest.number,
  event: rest.event,
  explanation: rest.explain(),
  steps: [
    ...shown,
    ...(coming === undefined
      ? []
      : [{ title: coming.title, detail: coming.detail(), done: false }]),
    { ...wayBack, done: false },
  ],
  next: shown.length,
});

/**
 * Before VM entry: an event whose delivery the exit interrupted is delivered again, then a waiting
 * interrupt is injected, or the interrupt window is asked for.
 */
export const prepareEntry = (hypervisor: Hypervisor, vcpu: XenVcpu): void => {
  const { hardware } = hypervisor;
  if (vcpu.guest !== undefined) loadShadowRoot(hypervisor, vcpu);
  const context: ExitContext = { hypervisor, vcpu, reason: 0, qualification: 0n };
  injectInterrupted(context);
  const waiting = pendingVector(hypervisor, vcpu);
  if (waiting !== undefined) deliver(hypervisor, vcpu, waiting, hasInjection(context));
  if (vcpu.apic?.waitsForCr8 === true) {
    const controls = hardware.read(FIELD.PRIMARY_CONTROLS);
    hardware.write(FIELD.PRIMARY_CONTROLS, controls | CR8_LOAD_EXITING);
  }
  if (hypervisor.events.wants('vm-entry')) {
    const information = hardware.read(FIELD.ENTRY_INTERRUPTION_INFORMATION);
    const injected = (information & VALID) === 0n ? undefined : Number(information & 0xffn);
    emit(hypervisor, vcpu, { kind: 'vm-entry', injected });
  }
};

const deliver = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  { vector, from }: NonNullable<ReturnType<typeof pendingVector>>,
  isTaken: boolean,
): void => {
  const { hardware } = hypervisor;
  const isOpen =
    (hardware.read(FIELD.GUEST_RFLAGS) & RFLAGS_IF) !== 0n &&
    (hardware.read(FIELD.GUEST_INTERRUPTIBILITY) & 3n) === 0n;
  if (isTaken || !isOpen) {
    const controls = hardware.read(FIELD.PRIMARY_CONTROLS);
    hardware.write(FIELD.PRIMARY_CONTROLS, controls | INTERRUPT_WINDOW_EXITING);
    return;
  }
  hardware.write(FIELD.ENTRY_INTERRUPTION_INFORMATION, VALID | BigInt(vector));
  const isCallback = from === 'callback';
  const source = isCallback ? UPCALL : (vcpu.apic?.accept(vector, hypervisor.nowNs) ?? from);
  if (hypervisor.events.wants('interrupt')) {
    emit(hypervisor, vcpu, { kind: 'interrupt', vector, source });
  }
};
