/**
 * The page of code by which a PV kernel calls Xen, 32 bytes a hypercall:
 * `push rcx; push r11; mov eax, NUMBER; syscall; pop r11; pop rcx; ret`; for iret, whose frame
 * begins with RAX, R11 and RCX, `push rcx; push r11; push rax; mov eax, 23; syscall`.
 * Source: xen/arch/x86/pv/hypercall.c.
 */
const IRET = 23;
const BYTES = 32;

export const pvHypercallPage = (): Uint8Array => {
  const page = new Uint8Array(4096).fill(0xcc);
  for (let number = 0; number < 4096 / BYTES; number += 1) {
    page.set(
      [0x51, 0x41, 0x53, 0xb8, number, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3],
      number * BYTES,
    );
  }
  page.set([0x51, 0x41, 0x53, 0x50, 0xb8, IRET, 0, 0, 0, 0x0f, 0x05], IRET * BYTES);
  return page;
};
