/**
 * vCPU operations: timers, and where the vcpu_info is. The second argument names the vCPU.
 * Source: Xen public/vcpu.h.
 */
import type { Gfn, Maddr, Mfn } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import type { XenDomain, XenVcpu } from '../domain.ts';
import {
  PENDING_SELECTOR,
  raiseUpcall,
  raiseVirq,
  VIRQ_TIMER,
  vcpuInfoAt,
} from '../event-channels.ts';
import { type Hypervisor, tellOfWrite } from '../hypervisor.ts';
import { unitsOf } from '../memory/units.ts';
import { defineHypercall, type ErrorName, type HypercallContext } from './hypercall.ts';

const common = { number: 24, source: 'Xen public/vcpu.h', argumentIndex: 2 } as const;
const HIGHEST_INFO_OFFSET = 4096n - 64n;

const targetOf = ({ vcpu, args }: HypercallContext) => vcpu.domain.vcpus[Number(args[1] ?? 0n)];

/** A vCPU may set its own timer only. */
const refusalOf = (context: HypercallContext): ErrorName | undefined => {
  const target = targetOf(context);
  if (target === undefined) return 'ENOENT';
  return target === context.vcpu ? undefined : 'EINVAL';
};

/** The flag VCPU_SSHOTTMR_future is ignored: a timer that is due fires at once. */
export const vcpuSetSingleshotTimer = defineHypercall({
  ...common,
  name: 'VCPUOP_set_singleshot_timer',
  command: 8,
  title: 'Set the timer that raises VIRQ_TIMER once',
  argument: { timeout_abs_ns: 'u64', flags: 'u32' },
  handle(context, { timeout_abs_ns }) {
    const { hypervisor, vcpu } = context;
    const refusal = refusalOf(context);
    if (refusal !== undefined) return refusal;
    const isPast = timeout_abs_ns <= BigInt(hypervisor.nowNs);
    vcpu.timerNs = isPast ? undefined : Number(timeout_abs_ns);
    if (isPast) raiseVirq(hypervisor, vcpu, VIRQ_TIMER);
    return 0;
  },
});

export const vcpuStopSingleshotTimer = defineHypercall({
  ...common,
  name: 'VCPUOP_stop_singleshot_timer',
  command: 9,
  title: 'Stop the single-shot timer',
  handle(context) {
    const refusal = refusalOf(context);
    if (refusal !== undefined) return refusal;
    context.vcpu.timerNs = undefined;
    return 0;
  },
});

/** There is no periodic timer, so it is stopped. */
export const vcpuStopPeriodicTimer = defineHypercall({
  ...common,
  name: 'VCPUOP_stop_periodic_timer',
  command: 7,
  title: 'Stop the periodic timer',
  handle: (context) => (targetOf(context) === undefined ? 'ENOENT' : 0),
});

export const vcpuIsUp = defineHypercall({
  ...common,
  name: 'VCPUOP_is_up',
  command: 3,
  title: 'Tell whether a vCPU is up',
  handle(context) {
    const target = targetOf(context);
    if (target === undefined) return 'ENOENT';
    return target.state === 'offline' ? 0 : 1;
  },
});

/** Events may come while vcpu_info moves: all ports count as pending, so that none is lost. */
const markAllPending = ({ hypervisor }: HypercallContext, target: XenVcpu): void => {
  const info = vcpuInfoAt(target);
  hypervisor.hardware.memory.bytes.fill(0xff, info + PENDING_SELECTOR, info + PENDING_SELECTOR + 8);
  raiseUpcall(hypervisor, target);
};

/**
 * The hypervisor writes to the frame by machine address from now on: it is held, and a PV domain's
 * may not become a page table. A PV domain names a machine frame.
 */
const holdInfoFrame = (
  hypervisor: Hypervisor,
  domain: XenDomain,
  frame: number,
): Mfn | undefined => {
  if (domain.type === 'pv') return hypervisor.directPaging?.holdWritable(domain, frame);
  const gfn = frame as Gfn;
  const isReady = unitsOf(hypervisor).prepare(domain, gfn, 'write') === 'ready';
  const mfn = isReady ? domain.p2m.mfnOf(gfn) : undefined;
  if (mfn !== undefined) hypervisor.frames.hold(mfn);
  return mfn;
};

export const vcpuRegisterInfo = defineHypercall({
  ...common,
  name: 'VCPUOP_register_vcpu_info',
  command: 10,
  title: 'Move the vcpu_info into memory of the guest',
  argument: { mfn: 'u64', offset: 'u32', rsvd: 'u32' },
  handle(context, { mfn, offset }) {
    const target = targetOf(context);
    const { wordBytes } = context;
    if (target === undefined) return 'ENOENT';
    if (offset > HIGHEST_INFO_OFFSET || offset % BigInt(wordBytes) !== 0n) return 'ENXIO';
    if (target.infoMaddr !== undefined) return 'EINVAL';
    const frame = holdInfoFrame(context.hypervisor, target.domain, Number(mfn));
    if (frame === undefined) return 'EINVAL';
    const { memory } = context.hypervisor.hardware;
    const old = vcpuInfoAt(target);
    const maddr = (frame * 4096 + Number(offset)) as Maddr;
    memory.bytes.copyWithin(hostAddressOf(maddr), old, old + 64);
    tellOfWrite(context.hypervisor, maddr, 64);
    target.infoMaddr = maddr;
    markAllPending(context, target);
    return 0;
  },
});
