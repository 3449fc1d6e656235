/**
 * A guest-physical address that EPT does not allow. As in Xen (hvm_hap_nested_page_fault), an
 * access to a hole of a domain without a device model is emulated: reads give all ones, writes are
 * lost; to execute there is #GP(0). Qualification: SDM Vol. 3C 27.2.1, Table 27-7.
 */
import { type Gfn, type Gpa, type Gva, gfnOf, type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import { OWNER_HYPERVISOR } from '../frames.ts';
import { FIELD } from '../hardware.ts';
import { emit, endDomain } from '../hypervisor.ts';
import {
  type ExitContext,
  type ExitHandler,
  hex,
  injectException,
  readField,
  step,
} from './exit.ts';

const GP = 13;
const EPT_VIOLATION = 48n;
const LINEAR_IS_VALID = 1n << 7n;
/** One instruction touches at most so many pages: two operands and its stack, each over two. */
const MAXIMUM_PAGES = 6;

export const accessOf = (qualification: bigint): 'read' | 'write' | 'execute' =>
  (qualification & 2n) !== 0n ? 'write' : (qualification & 4n) !== 0n ? 'execute' : 'read';

export const eptViolation: ExitHandler = {
  number: 48,
  *handle(context) {
    const { hypervisor, vcpu, qualification } = context;
    const gpa = Number(readField(context, FIELD.GUEST_PHYSICAL_ADDRESS)) as Gpa;
    const access = accessOf(qualification);
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
    if (access === 'execute') {
      yield step('Inject #GP(0)', () => `there is no code to run at ${hex(gpa)} (${type})`);
      injectException(context, GP, 0);
      return;
    }
    yield step(
      'Emulate the instruction',
      () => `${type}: no device is there, so a read gives all ones and a write is lost`,
    );
    const problem = emulate(context, gfnOf(gpa));
    if (problem !== undefined) endDomain(hypervisor, vcpu, 'crash', problem);
  },
};

/**
 * Runs the one instruction with a page of ones in place of the hole, which is then taken away.
 * A sentence if that is not possible.
 */
const emulate = ({ hypervisor, vcpu }: ExitContext, first: Gfn): string | undefined => {
  const { hardware, frames } = hypervisor;
  const { p2m } = vcpu.domain;
  const mapped: {
    readonly gfn: Gfn;
    readonly mfn: Mfn;
    readonly type: ReturnType<typeof p2m.lookup>['type'];
  }[] = [];
  const map = (gfn: Gfn): boolean => {
    const mfn = frames.allocate(OWNER_HYPERVISOR);
    if (mfn === undefined) return false;
    const host = hostAddressOf(maddrOf(mfn));
    hardware.memory.bytes.fill(0xff, host, host + 4096);
    mapped.push({ gfn, mfn, type: p2m.lookup(gfn).type });
    p2m.set(gfn, 'mmio', mfn, 3);
    hardware.invalidateTranslations();
    return true;
  };
  let problem: string | undefined;
  let missing: Gfn | undefined = first;
  while (missing !== undefined && problem === undefined) {
    if (mapped.length >= MAXIMUM_PAGES || !map(missing)) {
      problem = `The access at gfn ${hex(first)} can not be emulated.`;
      break;
    }
    missing = undefined;
    problem = hardware.enter();
    if (problem !== undefined) break;
    const stop = hardware.step();
    vcpu.retired += hardware.retired;
    if (stop !== 'exit') break;
    const isViolation = (hardware.read(FIELD.EXIT_REASON) & 0xffffn) === EPT_VIOLATION;
    const gpa = Number(hardware.read(FIELD.GUEST_PHYSICAL_ADDRESS)) as Gpa;
    if (isViolation) missing = gfnOf(gpa);
    else problem = 'The instruction at the hole made another VM exit, which can not be emulated.';
  }
  for (const { gfn, mfn, type } of mapped) {
    p2m.set(gfn, type, undefined);
    frames.release(mfn);
  }
  hardware.invalidateTranslations();
  return problem;
};
