/**
 * The registers as NASM names them, each with a line for a hover.
 * Source: SDM Vol. 1 3.4 "Basic Program Execution Registers"; Vol. 3A 2.5 "Control Registers".
 */
const GENERAL = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];

const list: (readonly [string, string])[] = [];
for (const name of GENERAL) {
  const rest = name.slice(1);
  list.push([name, '64-bit general-purpose register']);
  list.push([`e${rest}`, `bits 31:0 of ${name.toUpperCase()}; writing it clears bits 63:32`]);
  list.push([rest, `bits 15:0 of ${name.toUpperCase()}`]);
  if (rest.endsWith('x')) {
    list.push([`${rest[0]}l`, `bits 7:0 of ${name.toUpperCase()}`]);
    list.push([
      `${rest[0]}h`,
      `bits 15:8 of ${name.toUpperCase()}; not together with a REX prefix`,
    ]);
  } else list.push([`${rest}l`, `bits 7:0 of ${name.toUpperCase()}, in 64-bit mode`]);
}
for (let number = 8; number < 16; number += 1) {
  list.push([`r${number}`, '64-bit general-purpose register']);
  list.push([`r${number}d`, `bits 31:0 of R${number}; writing it clears bits 63:32`]);
  list.push([`r${number}w`, `bits 15:0 of R${number}`]);
  list.push([`r${number}b`, `bits 7:0 of R${number}`]);
}
for (const [name, title] of [
  ['cs', 'code segment'],
  ['ds', 'data segment'],
  ['es', 'data segment, destination of string instructions'],
  ['ss', 'stack segment'],
  ['fs', 'data segment; its base is IA32_FS_BASE in 64-bit mode'],
  ['gs', 'data segment; its base is IA32_GS_BASE in 64-bit mode'],
  ['rip', 'instruction pointer'],
  ['cr0', 'control register: PE, WP, PG and others'],
  ['cr2', 'linear address of the last page fault'],
  ['cr3', 'physical address of the top paging structure'],
  ['cr4', 'control register: PAE, PGE, SMEP, SMAP and others'],
  ['cr8', 'task priority'],
  ['dr6', 'debug status'],
  ['dr7', 'debug control'],
] as const) {
  list.push([name, title]);
}
for (const number of [0, 1, 2, 3]) list.push([`dr${number}`, 'linear address of a breakpoint']);

/** By name, in lower case. */
export const REGISTERS: ReadonlyMap<string, string> = new Map(list);
