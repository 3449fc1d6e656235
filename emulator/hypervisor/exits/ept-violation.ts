/**
 * A guest-physical address that EPT does not allow. As in Xen (hvm_hap_nested_page_fault), an
 * access to a hole of a domain without a device model is emulated: reads give all ones, writes are
 * lost; to execute there is #GP(0). Qualification: SDM Vol. 3C 27.2.1, Table 27-7.
 */
import { type Gfn, type Gpa, type Gva, gfnOf } from '../../memory/addresses.ts';
import { FIELD } from '../hardware.ts';
import { emit, endDomain, pauseDomain } from '../hypervisor.ts';
import { isRam, type PageAccess, unitsOf } from '../memory/units.ts';
import type { P2mType } from '../p2m.ts';
import {
  type ExitContext,
  type ExitHandler,
  hasInjection,
  hex,
  injectException,
  injectInterrupted,
  readField,
  step,
} from './exit.ts';

const GP = 13;
const LINEAR_IS_VALID = 1n << 7n;

export const accessOf = (qualification: number): 'read' | 'write' | 'execute' =>
  (qualification & 2) !== 0 ? 'write' : (qualification & 4) !== 0 ? 'execute' : 'read';

export const eptViolation: ExitHandler = {
  number: 48,
  *handle(context) {
    const { hypervisor, vcpu, qualification } = context;
    const gpa = Number(readField(context, FIELD.GUEST_PHYSICAL_ADDRESS)) as Gpa;
    const access = accessOf(Number(qualification));
    yield step(
      'Look the frame up in the P2M',
      () => `gpa ${hex(gpa)}, gfn ${hex(gfnOf(gpa))}, ${access}`,
    );
    const { type } = vcpu.domain.p2m.lookup(gfnOf(gpa));
    if (hypervisor.events.wants('ept-violation')) {
      const linear = readField(context, FIELD.GUEST_LINEAR_ADDRESS) as Gva;
      const gva = (qualification & LINEAR_IS_VALID) === 0n ? undefined : linear;
      emit(hypervisor, vcpu, {
        kind: 'ept-violation',
        gpa,
        gva,
        access,
        qualification,
        p2mType: type,
      });
    }
    if (isRam(type)) {
      yield step(RAM_STEPS[type] ?? 'Go on', () => `gfn ${hex(gfnOf(gpa))} is ${type}`);
      const problem = makeReady(context, gfnOf(gpa), access);
      if (problem !== undefined) yield step('Pause the domain', () => problem);
      return;
    }
    if (access === 'execute') {
      yield step('Inject #GP(0)', () => `there is no code to run at ${hex(gpa)} (${type})`);
      injectException(context, GP, 0);
      return;
    }
    injectInterrupted(context);
    yield step(
      hasInjection(context) ? 'Emulate the delivery of the event' : 'Emulate the instruction',
      () => `${type}: no device is there, so a read gives all ones and a write is lost`,
    );
    emulate(context);
  },
};

/** What is done about an access to RAM that is away, shared or watched. */
export const RAM_STEPS: Partial<Record<P2mType, string>> = {
  shared: 'Give the page a frame of its own',
  paged: 'Bring the page back from the swap device',
  'on-demand': 'Give the page its first frame',
  logdirty: 'Note the write, and allow it',
};

/** Gets a page of RAM ready. A sentence if that is not possible now; the domain is paused then. */
export const makeReady = (
  { hypervisor, vcpu: { domain } }: ExitContext,
  gfn: Gfn,
  access: PageAccess,
): string | undefined => {
  const units = unitsOf(hypervisor);
  const result = units.prepare(domain, gfn, access);
  if (result === 'ready' || result === 'missing') return undefined;
  const problem =
    result === 'lost'
      ? `Domain ${domain.id} is paused: the swap device does not give gfn ${hex(gfn)} back.`
      : `Domain ${domain.id} is paused: no machine frame is free for gfn ${hex(gfn)}.`;
  pauseDomain(hypervisor, domain, problem);
  if (result === 'no-frame') units.balance.wait(domain);
  return problem;
};

/**
 * Runs the one instruction, or the delivery of the event that was interrupted, with stand-ins for
 * what is missing. A VM exit that it makes for another reason is the next to be handled.
 */
const emulate = (context: ExitContext): void => {
  const { hypervisor, vcpu } = context;
  const { hardware } = hypervisor;
  hardware.setStandIns?.({
    ...hypervisor.standIns,
    // A page of RAM that is away is brought back instead.
    covers: (gpa) => !isRam(vcpu.domain.p2m.typeOf(gfnOf(gpa as Gpa))),
  });
  const isDelivery = hasInjection(context);
  const problem = hardware.enter();
  if (problem !== undefined) endDomain(hypervisor, vcpu, 'crash', `VM entry failed: ${problem}`);
  else {
    const stop = isDelivery ? hardware.run(0) : hardware.step();
    hypervisor.exitIsDue = stop === 'exit';
    vcpu.retired += hardware.retired;
  }
  hardware.setStandIns?.(undefined);
};
