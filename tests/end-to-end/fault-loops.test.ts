/** A guest whose page-fault handler is not mapped faults for ever: the machine can be stopped all the same. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { assemble } from '../../assembler/index.ts';
import { createMachine } from '../../emulator/index.ts';

const samples = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'samples');
const readFile = (path: string) => {
  const place = join(samples, 'include', path);
  return { path: place, bytes: readFileSync(place) };
};

const GUEST = `
%include "boot.inc"
%include "interrupts.inc"
main:   mov     eax, tss                        ; the handler's stack is always the same
        mov     [tss_descriptor + 2], ax
        shr     eax, 16
        mov     [tss_descriptor + 4], al
        mov     [tss_descriptor + 7], ah
        mov     eax, tss + 4096
        mov     [tss + 36], rax
        lgdt    [own_gdt_pointer]
        mov     eax, 0x18
        ltr     ax
        load_idt
        set_gate VECTOR_PF, main + 0x40000000   ; above what is mapped
        mov     byte [idt + 16 * VECTOR_PF + 4], 1
start:  mov     eax, [0x40000000]
        ret
section .data
own_gdt: dq     0, 0x00af9b000000ffff, 0x00cf93000000ffff
tss_descriptor: dq 0x0000890000000067, 0
own_gdt_pointer: dw own_gdt_pointer - own_gdt - 1
        dq      own_gdt
section .bss
alignb 16
tss:    resb    4096
section .text
`;

const { bytes: program, symbols } = assemble(GUEST, {
  path: join(samples, 'fault-loop.asm'),
  readFile,
});
const entry = symbols.find(({ name }) => name === 'main')?.address ?? 0n;

test.each([true, false])('hap %s', (hap) => {
  const machine = createMachine({
    domains: [{ name: 'guest', program, memoryBytes: 16 << 20, hap }],
  });

  expect(machine.run(20_000)).toEqual({ why: 'budget' });
  const { retired } = machine;
  expect(machine.run(20_000)).toEqual({ why: 'budget' });
  expect(machine.retired).toBe(retired);
  expect(machine.domains[0]?.vcpus[0]?.register('cr2')).toBe(entry + 0x4000_0000n);
});
