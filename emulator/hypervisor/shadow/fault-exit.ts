/**
 * The VM exit of a page fault under shadow paging: the guest's own faults go back to it, the others
 * it never sees. Sources: SDM Vol. 3A 6.15 "Interrupt 8", Table 6-5; Vol. 3C 27.2.4 "Information for
 * VM Exits During Event Delivery", 27.3.3 "Saving RIP, RSP, RFLAGS, and SSP".
 */

import { exceptionOf } from '../../../isa/index.ts';
import { linearNumber } from '../../cpu/paging.ts';
import { CR2 } from '../../cpu/state.ts';
import type { ShadowFaultEvent } from '../../events.ts';
import { type Gfn, gfnOf, gva, mfnOf } from '../../memory/addresses.ts';
import { makeReady, RAM_STEPS } from '../exits/ept-violation.ts';
import {
  type ExitContext,
  type ExitSteps,
  hex,
  injectException,
  readField,
  step,
  writeField,
} from '../exits/exit.ts';
import { FIELD } from '../hardware.ts';
import { emit, endDomain } from '../hypervisor.ts';
import { isRam } from '../memory/units.ts';
import { emulateStep, type NextFault, type OpenedAccess } from './emulate.ts';
import {
  diagnose,
  isRefused,
  refusalCode,
  type ShadowDiagnosis,
  type ShadowFault,
  shadowFaultOf,
} from './faults.ts';
import { markAccessed } from './guest-tables.ts';
import type { ShadowPaging } from './shadow-paging.ts';

const PAGE_FAULT_EXIT = 0x8000_030en;
const [DB, DF, GP, PF] = [1, 8, 13, 14];
const RFLAGS_RF = 1n << 16n;
const RFLAGS_AC = 1n << 18n;
const VALID = 1n << 31n;
const HARDWARE_EXCEPTION = 3n;

/** Whether the exit is a page fault that shadow paging has to look at. */
export const isShadowFault = ({ vcpu }: ExitContext, information: bigint): boolean =>
  vcpu.guest !== undefined && (information & 0x8000_07ffn) === PAGE_FAULT_EXIT;

export function* handleShadowFault(context: ExitContext, shadow: ShadowPaging): ExitSteps {
  const fault = readFault(context);
  yield step(
    "Walk the guest's tables",
    () => `for ${accessName(fault)} at ${hex(addressOf(fault))}`,
  );
  const diagnosis = examine(context, shadow, fault);
  if (diagnosis.kind === 'guest') {
    yield step(
      'Inject #PF',
      () => `the guest's own tables refuse it, error code ${diagnosis.errorCode}`,
    );
    injectFault(context, fault, diagnosis.errorCode);
    return;
  }
  const { gpa, p2mType } = diagnosis;
  if (diagnosis.kind === 'p2m' && isRam(p2mType)) {
    yield step(RAM_STEPS[p2mType] ?? 'Go on', () => `gfn ${hex(gfnOf(gpa))} is ${p2mType}`);
    const problem = makeReady(context, gfnOf(gpa), accessName(fault));
    if (problem !== undefined) yield step('Pause the domain', () => problem);
    return;
  }
  if (diagnosis.kind === 'p2m' && fault.access.execute) {
    yield step('Inject #GP(0)', () => `there is no code to run at gpa ${hex(gpa)} (${p2mType})`);
    accessedBy(context, fault, diagnosis);
    injectException(context, GP, 0);
    return;
  }
  yield step(
    TITLES[diagnosis.kind],
    () => `gpa ${hex(gpa)}, ${p2mType}: ${REASONS[diagnosis.kind]}`,
  );
  forgetResumeFlag(context);
  const next = (): NextFault => nextFault(context, shadow);
  const done = resolve(context, shadow, fault, diagnosis);
  if (done.kind !== 'open') return;
  emulateStep(context, shadow, done, next);
}

const TITLES: Readonly<Record<OpenedAccess['kind'], string>> = {
  fill: 'Fill the shadow entries',
  sync: 'Emulate the write',
  override: 'Emulate the write',
  p2m: 'Emulate the instruction',
};
const REASONS: Readonly<Record<OpenedAccess['kind'], string>> = {
  fill: "from the guest's entries and the P2M, with accessed and dirty bits set in the guest's",
  sync: 'a table of the guest that is shadowed; the shadow entry follows',
  override:
    'the page is read-only, and CR0.WP is clear for the guest, though not for the processor',
  p2m: 'no device is there, so a read gives all ones and a write is lost',
};

/** Sets the guest's bits; fills the shadow, or says what has to be opened. */
const resolve = (
  context: ExitContext,
  shadow: ShadowPaging,
  fault: ShadowFault,
  diagnosis: OpenedAccess,
): NextFault => {
  accessedBy(context, fault, diagnosis);
  if (diagnosis.kind !== 'fill') return { kind: 'open', fault, diagnosis };
  const hasChanged = shadow.fill(context.vcpu.id, fault.linear);
  if (!isRefused(fault, hasChanged)) return { kind: 'resolved' };
  injectFault(context, fault, refusalCode(shadow.pagingOf(context.vcpu.id), fault));
  return { kind: 'over' };
};

/** What to do about the exit that the emulated step has made. */
const nextFault = (context: ExitContext, shadow: ShadowPaging): NextFault => {
  const reason = readField(context, FIELD.EXIT_REASON) & 0xffffn;
  const information = readField(context, FIELD.EXIT_INTERRUPTION_INFORMATION);
  if (reason !== 0n || !isShadowFault(context, information)) {
    context.hypervisor.exitIsDue = true;
    return { kind: 'over' };
  }
  const fault = readFault(context);
  const diagnosis = examine(context, shadow, fault);
  if (diagnosis.kind === 'guest') {
    injectFault(context, fault, diagnosis.errorCode);
    return { kind: 'over' };
  }
  const { gpa, p2mType } = diagnosis;
  if (diagnosis.kind === 'p2m' && isRam(p2mType)) {
    const problem = makeReady(context, gfnOf(gpa), accessName(fault));
    return { kind: problem === undefined ? 'resolved' : 'over' };
  }
  if (diagnosis.kind === 'p2m' && fault.access.execute) {
    accessedBy(context, fault, diagnosis);
    injectException(context, GP, 0);
    return { kind: 'over' };
  }
  forgetResumeFlag(context);
  return resolve(context, shadow, fault, diagnosis);
};

const readFault = (context: ExitContext): ShadowFault =>
  shadowFaultOf(
    linearNumber(readField(context, FIELD.EXIT_QUALIFICATION)),
    Number(readField(context, FIELD.EXIT_INTERRUPTION_ERROR_CODE)),
    (readField(context, FIELD.GUEST_RFLAGS) & RFLAGS_AC) !== 0n,
  );

const addressOf = ({ linear }: ShadowFault): bigint => gva(BigInt(linear));

const accessName = ({ access }: ShadowFault): ShadowFaultEvent['access'] =>
  access.write ? 'write' : access.execute ? 'execute' : 'read';

/** Finds out what the fault is, and tells of it. */
const examine = (
  { hypervisor, vcpu }: ExitContext,
  shadow: ShadowPaging,
  fault: ShadowFault,
): ShadowDiagnosis => {
  const { p2m } = vcpu.domain;
  const paging = shadow.pagingOf(vcpu.id);
  const diagnosis = diagnose(hypervisor.hardware.memory, p2m, paging, shadow.isTable, fault);
  if (hypervisor.events.wants('shadow-fault')) {
    const isGuests = diagnosis.kind === 'guest';
    emit(hypervisor, vcpu, {
      kind: 'shadow-fault',
      cause: diagnosis.kind,
      gva: gva(BigInt(fault.linear)),
      gpa: isGuests ? undefined : diagnosis.gpa,
      access: accessName(fault),
      errorCode: fault.errorCode,
      p2mType: isGuests ? undefined : diagnosis.p2mType,
    });
  }
  return diagnosis;
};

const accessedBy = (
  { hypervisor, vcpu }: ExitContext,
  { access }: ShadowFault,
  { translation }: OpenedAccess,
): void => {
  const { hardware, frames } = hypervisor;
  const { domain } = vcpu;
  markAccessed(hardware.memory, translation, access.write, (maddr) => {
    // The processor's own setting of these bits is a write of the guest's.
    const gfn = frames.gfns[mfnOf(maddr)] as Gfn;
    if (domain.p2m.typeOf(gfn) === 'logdirty') hypervisor.memory?.prepare(domain, gfn, 'write');
    hardware.noteWrite(maddr, 4);
  });
};

/**
 * The processor has saved RF as set, as for every fault. What it was is not told: it is clear, unless
 * the guest has just returned from a fault of its own; the image that an exception pushes has it set.
 */
const forgetResumeFlag = (context: ExitContext): void => {
  const vectoring = readField(context, FIELD.IDT_VECTORING_INFORMATION);
  const isFault =
    (vectoring & VALID) !== 0n &&
    ((vectoring >> 8n) & 7n) === HARDWARE_EXCEPTION &&
    Number(vectoring & 0xffn) !== DB;
  if (!isFault) clearResumeFlag(context);
};

const clearResumeFlag = (context: ExitContext): void => {
  const rflags = readField(context, FIELD.GUEST_RFLAGS);
  writeField(context, FIELD.GUEST_RFLAGS, rflags & ~RFLAGS_RF);
};

/** The fault is the guest's; if an exception was being delivered, they may make a double fault. */
const injectFault = (context: ExitContext, fault: ShadowFault, errorCode: number): void => {
  const { hypervisor, vcpu } = context;
  const vectoring = readField(context, FIELD.IDT_VECTORING_INFORMATION);
  const isException = (vectoring & VALID) !== 0n && ((vectoring >> 8n) & 7n) === HARDWARE_EXCEPTION;
  const first = isException ? Number(vectoring & 0xffn) : undefined;
  if (first === DF) {
    clearResumeFlag(context);
    endDomain(
      hypervisor,
      vcpu,
      'triple-fault',
      `vCPU ${vcpu.id} of domain ${vcpu.domain.id} had a triple fault at RIP ${hex(readField(context, FIELD.GUEST_RIP))}: a page fault at ${hex(addressOf(fault))}, while #DF was being delivered.`,
    );
    return;
  }
  const vector = first === PF ? DF : PF;
  const code = vector === DF ? 0 : errorCode;
  if (vector === PF) hypervisor.hardware.setSlot(vcpu, CR2, addressOf(fault));
  injectException(context, vector, code);
  if (!hypervisor.events.wants('exception')) return;
  emit(hypervisor, vcpu, {
    kind: 'exception',
    vector,
    name: exceptionOf(vector)?.name ?? `${vector}`,
    errorCode: code,
    address: vector === PF ? addressOf(fault) : undefined,
  });
};
