/**
 * The processor's own state, which a PV kernel asks the hypervisor to change. Sources: Xen
 * public/xen.h (fpu_taskswitch, set_debugreg, get_debugreg, vm_assist, set_timer_op, multicall),
 * public/physdev.h.
 */
import { raiseVirq, VIRQ_TIMER } from '../event-channels.ts';
import { copyFromGuest, copyToGuest } from '../hypervisor.ts';
import { pvOf } from '../pv/mode.ts';
import { readDebugRegister, setTaskSwitched, writeDebugRegister } from '../pv/privileged.ts';
import { PV_ASSISTS } from '../pv/vm-assist.ts';
import { defineHypercall, ERRORS, readNumber, writeNumber } from './hypercall.ts';

export const fpuTaskswitch = defineHypercall({
  name: 'fpu_taskswitch',
  number: 5,
  only: 'pv',
  title: 'Set or clear CR0.TS',
  source: 'Xen public/xen.h, HYPERVISOR_fpu_taskswitch',
  handle({ hypervisor, vcpu, args: [set = 0n] }) {
    setTaskSwitched(hypervisor, vcpu, (set & 0xffff_ffffn) !== 0n);
    return 0;
  },
});

export const setDebugreg = defineHypercall({
  name: 'set_debugreg',
  number: 8,
  only: 'pv',
  title: 'Set a debug register',
  source: 'Xen public/xen.h, HYPERVISOR_set_debugreg',
  handle({ hypervisor, vcpu, args: [number = 0n, value = 0n] }) {
    const register = Number(number & 0xffff_ffffn);
    if (register > 7) return 'ENODEV';
    return writeDebugRegister(hypervisor, vcpu, register, value) ? 0 : 'EPERM';
  },
});

export const getDebugreg = defineHypercall({
  name: 'get_debugreg',
  number: 9,
  only: 'pv',
  title: 'Read a debug register',
  source: 'Xen public/xen.h, HYPERVISOR_get_debugreg',
  handle({ hypervisor, vcpu, args: [number = 0n] }) {
    return readDebugRegister(hypervisor, vcpu, Number(number & 0xffff_ffffn)) ?? 'ENODEV';
  },
});

const VMASST_CMD_enable = 0n;
const VMASST_CMD_disable = 1n;

export const vmAssist = defineHypercall({
  name: 'vm_assist',
  number: 21,
  only: 'pv',
  title: 'Switch a service of the hypervisor on or off',
  source: 'Xen public/xen.h, HYPERVISOR_vm_assist',
  handle({ vcpu, args: [command = 0n, type = 0n] }) {
    const { pv } = vcpu.domain;
    const bit = Number(type & 0xffff_ffffn);
    if (pv === undefined || bit >= 64) return 'EINVAL';
    if (!PV_ASSISTS.has(bit)) return 'EINVAL';
    if (command === VMASST_CMD_enable) pv.assists.add(bit);
    else if (command === VMASST_CMD_disable) pv.assists.delete(bit);
    else return 'ENOSYS';
    return 0;
  },
});

/** 0 takes the timer away. */
export const setTimerOp = defineHypercall({
  name: 'set_timer_op',
  number: 15,
  title: 'Set the timer that raises VIRQ_TIMER once',
  source: 'Xen public/xen.h, HYPERVISOR_set_timer_op',
  handle({ hypervisor, vcpu, args: [timeout = 0n] }) {
    const isDue = timeout !== 0n && timeout <= BigInt(hypervisor.nowNs);
    vcpu.timerNs = timeout === 0n || isDue ? undefined : Number(timeout);
    if (isDue) raiseVirq(hypervisor, vcpu, VIRQ_TIMER);
    return 0;
  },
});

const ENTRY_BYTES = 64;
const ENTRY_ARGUMENTS = 6;
const RESULT_OFFSET = 8;
const ARGUMENTS_OFFSET = 16;
const MULTICALL = 13;
/** Entries after which a call comes back, to go on later. */
const AT_ONCE = 256;

/**
 * A list of calls, each of which gets its result; the list ends early if it is not readable. A list
 * within a list is EINVAL.
 */
export const multicall = defineHypercall({
  name: 'multicall',
  number: MULTICALL,
  title: 'Run a list of hypercalls',
  source: 'Xen public/xen.h, struct multicall_entry',
  handle({ hypervisor, vcpu, call, args: [list = 0n, count = 0n] }) {
    const entries = Number(count & 0xffff_ffffn);
    for (let index = 0; index < entries; index += 1) {
      const at = list + BigInt(index * ENTRY_BYTES);
      if (index === AT_ONCE) return { continueWith: [at, BigInt(entries - index)] };
      const bytes = copyFromGuest(hypervisor, vcpu, at, ENTRY_BYTES);
      if (bytes === undefined) return 'EFAULT';
      const args = Array.from({ length: ENTRY_ARGUMENTS }, (_, number) =>
        readNumber(bytes, ARGUMENTS_OFFSET + number * 8, 8),
      );
      const number = Number(readNumber(bytes, 0, 8) & 0xffff_ffffn);
      const value =
        number === MULTICALL ? BigInt.asUintN(64, -BigInt(ERRORS.EINVAL)) : call(number, args);
      if (typeof value === 'object') {
        const rest = new Uint8Array(ENTRY_ARGUMENTS * 8);
        args.forEach((argument, position) => {
          writeNumber(rest, position * 8, 8, value.continueWith[position] ?? argument);
        });
        if (!copyToGuest(hypervisor, vcpu, at + BigInt(ARGUMENTS_OFFSET), rest)) return 'EFAULT';
        return { continueWith: [at, BigInt(entries - index)] };
      }
      const result = new Uint8Array(8);
      writeNumber(result, 0, 8, value);
      const isWritten = copyToGuest(hypervisor, vcpu, at + BigInt(RESULT_OFFSET), result);
      if (!isWritten) return 'EFAULT';
      if (vcpu.state !== 'runnable') break;
    }
    return 0;
  },
});

const physdev = { number: 33, only: 'pv', source: 'Xen public/physdev.h' } as const;

export const physdevSetIopl = defineHypercall({
  ...physdev,
  name: 'PHYSDEVOP_set_iopl',
  command: 6,
  title: 'Set the I/O privilege level',
  argument: { iopl: 'u32' },
  handle({ vcpu }, { iopl }) {
    if (iopl > 3n) return 'EINVAL';
    pvOf(vcpu).iopl = Number(iopl);
    return 0;
  },
});

/** The bitmap is taken, but a domain without ports gets none by it. */
export const physdevSetIobitmap = defineHypercall({
  ...physdev,
  name: 'PHYSDEVOP_set_iobitmap',
  command: 7,
  title: 'Set the I/O permission bitmap',
  argument: { bitmap: 'handle', nr_ports: 'u32' },
  handle: (_context, { nr_ports }) => (nr_ports > 65_536n ? 'EINVAL' : 0),
});
