/**
 * What a hypercall is: a number, possibly a command, the layout of its argument structure, and
 * what it does. The dispatcher (dispatch.ts) reads and writes the structure; handlers see fields.
 * Source: Xen public/xen.h, "HYPERCALLS"; error numbers: public/errno.h.
 */
import type { XenVcpu } from '../domain.ts';
import type { Hypervisor } from '../hypervisor.ts';

export const ERRORS = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  ENXIO: 6,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  ERANGE: 34,
  ENOSYS: 38,
  EOPNOTSUPP: 95,
} as const;
export type ErrorName = keyof typeof ERRORS;

/**
 * `ulong` and `handle` have the size of the caller's words; fields are aligned to their size. `align`
 * is no field: it ends an inner structure of words.
 */
export type FieldType = 'u8' | 'u16' | 'u32' | 'u64' | 'ulong' | 'handle' | 'align';
export type Layout = Readonly<Record<string, FieldType>>;

export interface HypercallContext {
  readonly hypervisor: Hypervisor;
  readonly vcpu: XenVcpu;
  /** All arguments as passed, five. */
  readonly args: readonly bigint[];
  /** Bytes of an unsigned long of the caller: 8, or 4 outside 64-bit mode. */
  readonly wordBytes: 4 | 8;
  /** Runs another hypercall of the same caller, as multicall does; the value of RAX. */
  call(number: number, args: readonly bigint[]): bigint | Continuation;
}

/**
 * The call is not finished: the caller makes it again, with these arguments. Meanwhile others get
 * their turn. Xen calls it a continuation.
 */
export interface Continuation {
  readonly continueWith: readonly bigint[];
}

export type HypercallResult = number | bigint | ErrorName | Continuation;

export interface Hypercall {
  /** 'EVTCHNOP_send', or 'console_io' if there are no commands. */
  readonly name: string;
  readonly number: number;
  /** In the first argument; undefined: the hypercall has none. */
  readonly command?: number;
  /** Domains of another type get -ENOSYS, or what another definition has for theirs. */
  readonly only?: 'pv' | 'hvm';
  /** In words: what it does, for the page of an exit. */
  readonly title: string;
  readonly source: string;
  readonly argument?: Layout;
  /**
   * How many structures follow each other is in the third argument. The handler reads and writes
   * them itself; the first is decoded for those who look.
   */
  readonly isList?: true;
  /** Which argument points to the structure; default 1, the second. */
  readonly argumentIndex?: number;
  /** What it returns if the structure is not readable; absent: EFAULT. */
  onFault?(context: HypercallContext): HypercallResult;
  /** Fields may be changed; the structure is written back if any is. */
  handle(context: HypercallContext, fields: Record<string, bigint>): HypercallResult;
}

type Fields<L extends Layout> = { -readonly [Name in keyof L]: bigint };

/** Gives the handler the fields of its own layout. */
export const defineHypercall = <const L extends Layout = Readonly<Record<never, FieldType>>>(
  definition: Omit<Hypercall, 'argument' | 'handle'> & {
    readonly argument?: L;
    handle(context: HypercallContext, fields: Fields<L>): HypercallResult;
  },
): Hypercall => definition as Hypercall;

const sizeOf = (type: FieldType, wordBytes: 4 | 8): number =>
  ({ u8: 1, u16: 2, u32: 4, u64: 8, ulong: wordBytes, handle: wordBytes, align: wordBytes })[type];

interface PlacedField {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/** Offsets of the fields, and the size of the structure. */
export const placeFields = (
  layout: Layout,
  wordBytes: 4 | 8,
): { readonly fields: readonly PlacedField[]; readonly bytes: number } => {
  const fields: PlacedField[] = [];
  let at = 0;
  let alignment = 1;
  for (const [name, type] of Object.entries(layout)) {
    const bytes = sizeOf(type, wordBytes);
    at = Math.ceil(at / bytes) * bytes;
    if (type === 'align') continue;
    alignment = Math.max(alignment, bytes);
    fields.push({ name, offset: at, bytes });
    at += bytes;
  }
  return { fields, bytes: Math.ceil(at / alignment) * alignment };
};

/** A little-endian number of 1, 2, 4 or 8 bytes. */
export const readNumber = (bytes: Uint8Array, offset: number, size: number): bigint => {
  let value = 0n;
  for (let index = size - 1; index >= 0; index -= 1) {
    value = (value << 8n) | BigInt(bytes[offset + index] ?? 0);
  }
  return value;
};

export const writeNumber = (
  bytes: Uint8Array,
  offset: number,
  size: number,
  value: bigint,
): void => {
  for (let index = 0; index < size; index += 1) {
    bytes[offset + index] = Number((value >> BigInt(8 * index)) & 0xffn);
  }
};
