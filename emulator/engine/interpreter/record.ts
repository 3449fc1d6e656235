/**
 * Decoded code in the machine's memory. A block is a header and its records, one an instruction:
 *
 *   header   0 i32 instructions   4 i32 offset of the first in its page   8 i64 unused
 *   record   0 u16 handler        2 u8 length      3 u8 number in the block
 *            4 u16 offset in page 6 u8 scale (log2)
 *            8 u16 register 0    10 u16 register 1  12 u16 base   14 u16 index
 *           16 i32 displacement or, of a direct branch, the taken block once it is known
 *           20 u16 segment base or i32 the block after a branch that is not taken
 *           24 i64 immediate, or the target of a direct branch relative to its page
 *
 * Registers are named by the addresses of their slots (cpu/state.ts), AH by that of RAX plus 1.
 * Code is position-independent: RIP is RIP_PAGE plus an offset.
 */
export const HEADER_BYTES = 16;
export const RECORD_BYTES = 32;
export const MAX_BLOCK = 64;

export const RECORD = {
  handler: 0,
  length: 2,
  number: 3,
  pageOffset: 4,
  scale: 6,
  registers: [8, 10],
  base: 12,
  index: 14,
  displacement: 16,
  taken: 16,
  notTaken: 20,
  segment: 20,
  immediate: 24,
} as const;

export const HEADER = { instructions: 0, pageOffset: 4 } as const;
