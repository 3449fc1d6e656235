/**
 * The layout of what is remembered of translations, in the machine's memory, where generated code
 * reads it. Entries have 16 bytes:
 *
 *   TLB, second level   i64 tag: the page's address | context    i32 host address of the page
 *                       (| SECOND_WRITABLE in the second level; less the page's address in the TLB)
 *   STAGE               i64 key: gpa of the page | kind | STAGE_CONTEXT      i32 host address
 *   LAST_TABLES         i64 key: address of a stretch of 2 MiB | generation
 *                       i32 host address of its last table, or gpa / 2 MiB of a large page
 *                       i32 bits: writable and user rights of the levels above, LAST_TABLE
 *
 * TABLE_REGIONS and LEADING have an i32 for each machine page (table-uses.ts, translations.ts).
 */

/** Bits of the access that generated code asks for, above its length in bytes. */
export const ACCESS_WRITES = 0x100;
/** A page fault may be made pending: the instruction makes this access whatever happens. */
export const ACCESS_FAULTS = 0x200;

/** Of the tag's low 12 bits. */
export const CONTEXT_GENERATION = 0x3ff;
export const CONTEXT_USER = 0x400;
/** RFLAGS.AC, which lifts SMAP. */
export const CONTEXT_ALIGNMENT = 0x800;

export const SECOND_WRITABLE = 1;

/** Kinds of access that the second stage is asked for. */
export const STAGE_KIND = { read: 0, write: 1, execute: 2, table: 3 } as const;
export const STAGE_KINDS = 4;
/** STAGE_CONTEXT is a generation above these bits; 0 is none. */
export const STAGE_GENERATION_SHIFT = 2;

export const LAST_TABLE = {
  /** Accessed and dirty bits may be set in it: the second stage lets it be written. */
  maySetBits: 8,
  /** It is no table, but a large page. */
  isPage: 16,
  /** The large page's entry is dirty. */
  isDirty: 32,
} as const;

/** In place of the one second-level entry that leads to a frame: several may, or code is run from it. */
export const SEVERAL = -1;
export const RUN = -2;
