/**
 * Where a PV kernel wants to be entered, and its stack. Sources: Xen public/xen.h (trap_info,
 * HYPERVISOR_set_trap_table, stack_switch), public/callback.h.
 */
import { copyFromGuest } from '../hypervisor.ts';
import { pvOf } from '../pv/mode.ts';
import { CALLBACK_NAMES, type CallbackName } from '../pv/pv-vcpu.ts';
import { defineHypercall, readNumber } from './hypercall.ts';

/** An address of the hypervisor's is found out when the kernel is to be entered there. */
const isCanonical = (address: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;

const TRAP_BYTES = 16;
/** Handlers after which a call comes back, to go on later. */
const AT_ONCE = 1024;
const MASKS_EVENTS = 4;
const DPL = 3;
/** A selector of Xen's own, or of the guest's tables, at level 3. */
const fixedSelector = (selector: number): number => selector | 3;

/** A list of trap_info, up to one whose address is 0; a null list takes all handlers away. */
export const setTrapTable = defineHypercall({
  name: 'set_trap_table',
  number: 0,
  only: 'pv',
  title: 'Register the handlers of exceptions and software interrupts',
  source: 'Xen public/xen.h, HYPERVISOR_set_trap_table',
  handle({ hypervisor, vcpu, args: [table = 0n] }) {
    const { gates } = pvOf(vcpu);
    if (table === 0n) {
      gates.clear();
      return 0;
    }
    for (let at = table; ; at += BigInt(TRAP_BYTES)) {
      if (at === table + BigInt(AT_ONCE * TRAP_BYTES)) return { continueWith: [at] };
      const bytes = copyFromGuest(hypervisor, vcpu, at, TRAP_BYTES);
      if (bytes === undefined) return 'EFAULT';
      const address = readNumber(bytes, 8, 8);
      if (address === 0n) return 0;
      if (!isCanonical(address)) return 'EINVAL';
      const flags = bytes[1] ?? 0;
      gates.set(bytes[0] ?? 0, {
        selector: fixedSelector(Number(readNumber(bytes, 2, 2))),
        address,
        dpl: flags & DPL,
        masksEvents: (flags & MASKS_EVENTS) !== 0,
      });
    }
  },
});

export const stackSwitch = defineHypercall({
  name: 'stack_switch',
  number: 3,
  only: 'pv',
  title: 'Set the stack on which the kernel is entered',
  source: 'Xen public/xen.h, HYPERVISOR_stack_switch',
  handle({ vcpu, args: [selector = 0n, pointer = 0n] }) {
    const pv = pvOf(vcpu);
    pv.kernelSs = fixedSelector(Number(selector & 0xffffn));
    pv.kernelSp = pointer;
    return 0;
  },
});

/** The older form of callback_op: event, failsafe, syscall. */
export const setCallbacks = defineHypercall({
  name: 'set_callbacks',
  number: 4,
  only: 'pv',
  title: 'Register the callbacks for events, failures and system calls',
  source: 'Xen public/xen.h, HYPERVISOR_set_callbacks',
  handle({ vcpu, args }) {
    const names: readonly CallbackName[] = ['event', 'failsafe', 'syscall'];
    const addresses = names.map((_, index) => args[index] ?? 0n);
    if (!addresses.every(isCanonical)) return 'EINVAL';
    const { callbacks } = pvOf(vcpu);
    names.forEach((name, index) => {
      callbacks.set(name, { address: addresses[index] ?? 0n, masksEvents: false });
    });
    return 0;
  },
});

const callback = { number: 30, only: 'pv', source: 'Xen public/callback.h' } as const;
const MASK_EVENTS = 1n;

const nameOf = (type: bigint): CallbackName | undefined =>
  CALLBACK_NAMES[Number(type) as keyof typeof CALLBACK_NAMES];

/** ENOSYS for a type that there is not, EINVAL for an address that is not canonical. */
export const callbackRegister = defineHypercall({
  ...callback,
  name: 'CALLBACKOP_register',
  command: 0,
  title: 'Register a callback of the kernel',
  argument: { type: 'u16', flags: 'u16', address: 'ulong' },
  handle({ vcpu }, { type, flags, address }) {
    if (!isCanonical(address)) return 'EINVAL';
    const name = nameOf(type);
    if (name === undefined) return 'ENOSYS';
    const masksEvents = (flags & MASK_EVENTS) !== 0n;
    pvOf(vcpu).callbacks.set(name, { address, masksEvents });
    return 0;
  },
});

/** Only the callback for NMIs can be taken back. */
export const callbackUnregister = defineHypercall({
  ...callback,
  name: 'CALLBACKOP_unregister',
  command: 1,
  title: 'Take a callback back',
  argument: { type: 'u16', unused: 'u16' },
  handle({ vcpu }, { type }) {
    const name = nameOf(type);
    if (name === undefined) return 'ENOSYS';
    if (name !== 'nmi') return 'EINVAL';
    pvOf(vcpu).callbacks.delete(name);
    return 0;
  },
});
