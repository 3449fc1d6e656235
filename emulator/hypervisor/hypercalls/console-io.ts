/**
 * Writes to the hypervisor's console, or reads what was typed on the domain's.
 *
 * Errors: EFAULT if the text is not readable, ENOSYS for another command.
 */
import { copyFromGuest, copyToGuest, printConsole } from '../hypervisor.ts';
import { defineHypercall } from './hypercall.ts';

const CONSOLEIO_write = 0n;
const CONSOLEIO_read = 1n;
/** A text longer than this is cut. */
const MAXIMUM_BYTES = 1 << 20;

const latin1 = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

export const consoleIo = defineHypercall({
  name: 'console_io',
  number: 18,
  title: 'Write to the console',
  source: 'Xen public/xen.h, HYPERVISOR_console_io',

  handle({ hypervisor, vcpu, args: [command, count = 0n, buffer = 0n] }) {
    if (command !== CONSOLEIO_write && command !== CONSOLEIO_read) return 'ENOSYS';
    const lengthBytes = Math.min(Number(count & 0xffff_ffffn), MAXIMUM_BYTES);
    if (command === CONSOLEIO_read) {
      const typed = hypervisor.dom0?.takeTyped(vcpu.domain, lengthBytes) ?? new Uint8Array();
      return copyToGuest(hypervisor, vcpu, buffer, typed) ? typed.length : 'EFAULT';
    }
    const bytes = copyFromGuest(hypervisor, vcpu, buffer, lengthBytes);
    if (bytes === undefined) return 'EFAULT';
    printConsole(hypervisor, vcpu, latin1(bytes));
    return 0;
  },
});
