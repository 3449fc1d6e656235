/**
 * IRET of a PV kernel: back to what its frame says, in the kernel or in a process. Its frame is on
 * the kernel's stack: RAX, R11, RCX, flags, RIP, CS, RFLAGS, RSP, SS.
 * Source: Xen public/arch-x86/xen-x86_64.h, struct iret_context; xen/arch/x86/pv/iret.c.
 */
import { CS, registerSlot, SS } from '../../cpu/state.ts';
import { FIELD } from '../hardware.ts';
import { copyFromGuest, endDomain } from '../hypervisor.ts';
import { bounceException, maskUpcalls } from '../pv/bounce.ts';
import { directPagingOf } from '../pv/mmu/direct-paging.ts';
import { pvOf, toggleMode } from '../pv/mode.ts';
import { VM_ASSIST } from '../pv/vm-assist.ts';
import { defineHypercall, readNumber } from './hypercall.ts';

const WORDS = ['rax', 'r11', 'rcx', 'flags', 'rip', 'cs', 'rflags', 'rsp', 'ss'] as const;
/** RCX and R11 are SYSCALL's: they stay. */
const VGCF_in_syscall = 0x100n;
const RFLAGS_IF = 0x200n;
const RFLAGS_IOPL = 0x3000n;
const RFLAGS_VM = 0x2_0000n;
const LEVEL = 3n;
const GP = 13;

export const iret = defineHypercall({
  name: 'iret',
  number: 23,
  only: 'pv',
  title: 'Return to the frame on the stack',
  source: 'Xen public/xen.h, HYPERVISOR_iret',

  handle({ hypervisor, vcpu }) {
    const { hardware } = hypervisor;
    const pv = pvOf(vcpu);
    const stack = hardware.slot(vcpu, registerSlot(4));
    const bytes = copyFromGuest(hypervisor, vcpu, stack, WORDS.length * 8);
    const crash = (why: string): bigint => {
      endDomain(hypervisor, vcpu, 'crash', why);
      return 0n;
    };
    if (bytes === undefined) {
      return crash(`IRET's frame at 0x${stack.toString(16)} is not readable.`);
    }
    const word = (name: (typeof WORDS)[number]): bigint =>
      readNumber(bytes, WORDS.indexOf(name) * 8, 8);
    if ((word('cs') & LEVEL) === LEVEL) {
      if (directPagingOf(hypervisor).roots(vcpu).user === 0) {
        return crash('IRET to a process, but the kernel has registered no page tables for any.');
      }
      toggleMode(hypervisor, vcpu);
    }
    const rflags = word('rflags');
    if (vcpu.domain.pv?.assists.has(VM_ASSIST.architecturalIopl) === true) {
      pv.iopl = Number((rflags & RFLAGS_IOPL) >> 12n);
    }
    hardware.write(FIELD.GUEST_RIP, word('rip'));
    hardware.write(FIELD.GUEST_RFLAGS, (rflags & ~(RFLAGS_IOPL | RFLAGS_VM)) | RFLAGS_IF);
    hardware.setSlot(vcpu, registerSlot(4), word('rsp'));
    if ((word('flags') & VGCF_in_syscall) === 0n) {
      hardware.setSlot(vcpu, registerSlot(11), word('r11'));
      hardware.setSlot(vcpu, registerSlot(1), word('rcx'));
    }
    maskUpcalls(hypervisor, vcpu, (rflags & RFLAGS_IF) === 0n);
    hardware.setSlot(vcpu, registerSlot(0), word('rax'));
    const load = (segment: number, selector: bigint): boolean =>
      hardware.loadSegment?.(segment, Number((selector | LEVEL) & 0xffffn)) === true;
    if (!load(CS, word('cs')) || !load(SS, word('ss'))) {
      const problem = bounceException(hypervisor, vcpu, GP, 0);
      if (problem !== undefined) return crash(`IRET's selectors are refused. ${problem}`);
    }
    return hardware.slot(vcpu, registerSlot(0));
  },
});
