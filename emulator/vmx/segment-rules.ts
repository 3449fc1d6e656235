/**
 * The checks of VM entry on the guest's segment registers.
 * Source: SDM Vol. 3C 26.3.1.2 "Checks on Guest Segment Registers"; access rights: 24.4.1, Table 24-2.
 */
import { type EntryFields, hasAny, isCanonical } from './entry-rules.ts';

interface Segment {
  readonly selector: bigint;
  readonly base: bigint;
  readonly limit: bigint;
  readonly type: number;
  readonly dpl: number;
  readonly rights: bigint;
  readonly isUsable: boolean;
}

const SEGMENT_NAMES = ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'] as const;
const DATA_NAMES = ['DS', 'ES', 'FS', 'GS'] as const;
type SegmentName = (typeof SEGMENT_NAMES)[number] | 'LDTR' | 'TR';

const IS_CODE_OR_DATA = 1n << 4n;
const PRESENT = 1n << 7n;
const LONG = 1n << 13n;
const DEFAULT_BIG = 1n << 14n;
const GRANULAR = 1n << 15n;
const UNUSABLE = 1n << 16n;
/** Bits 11:8 and 31:17. */
const RESERVED = 0xfffe_0f00n;
const TABLE_INDICATOR = 4n;
const ACCESSED = 1;
const READABLE = 2;
const CODE = 8;
const ACCESSED_WRITABLE_DATA = 3;
const LDT = 2;
const BUSY_TSS_16 = 3;
const BUSY_TSS = 11;
const NONCONFORMING_CODE: readonly number[] = [9, 11];
const CONFORMING_CODE: readonly number[] = [13, 15];
const STACK_TYPES: readonly number[] = [3, 7];
const VIRTUAL_8086_RIGHTS = 0xf3n;
const VIRTUAL_8086_LIMIT = 0xffffn;
const RFLAGS_VM = 1n << 17n;

type Segments = Readonly<Record<SegmentName, Segment>>;

/** A rule on segments that have been read. */
interface SegmentRule {
  readonly breaks: (segments: Segments, vmcs: EntryFields) => boolean;
  readonly words: string;
}

/** The sentence of the first rule on segment registers that is broken; undefined if none is. */
export const brokenSegmentRule = (vmcs: EntryFields): string | undefined => {
  const segments: Segments = {
    CS: segmentOf(vmcs, 'CS'),
    SS: segmentOf(vmcs, 'SS'),
    DS: segmentOf(vmcs, 'DS'),
    ES: segmentOf(vmcs, 'ES'),
    FS: segmentOf(vmcs, 'FS'),
    GS: segmentOf(vmcs, 'GS'),
    LDTR: segmentOf(vmcs, 'LDTR'),
    TR: segmentOf(vmcs, 'TR'),
  };
  return SEGMENT_RULES.find(({ breaks }) => breaks(segments, vmcs))?.words;
};

const segmentOf = ({ get }: EntryFields, name: SegmentName): Segment => {
  const rights = get(`GUEST_${name}_ACCESS_RIGHTS`);
  return {
    selector: get(`GUEST_${name}_SELECTOR`),
    base: get(`GUEST_${name}_BASE`),
    limit: get(`GUEST_${name}_LIMIT`),
    type: Number(rights & 15n),
    dpl: Number((rights >> 5n) & 3n),
    rights,
    isUsable: !hasAny(rights, UNUSABLE),
  };
};

const rplOf = ({ selector }: Segment): number => Number(selector & 3n);
const isVirtual8086 = ({ get }: EntryFields): boolean => hasAny(get('GUEST_RFLAGS'), RFLAGS_VM);
const isHigh = (base: bigint): boolean => base >> 32n !== 0n;

/** The granularity that the limit forces: bits 11:0 all 1 if set, bits 31:20 all 0 if clear. */
const isMisgranular = ({ rights, limit }: Segment): boolean =>
  hasAny(rights, GRANULAR) ? (limit & 0xfffn) !== 0xfffn : limit > 0xf_ffffn;

type Check = (segment: Segment, vmcs: EntryFields, segments: Segments) => boolean;

const rule =
  (applies: (segment: Segment, vmcs: EntryFields) => boolean) =>
  (name: SegmentName, words: string, breaks: Check): SegmentRule => ({
    words: `${name} ${words}`,
    breaks: (segments, vmcs) => {
      const segment = segments[name];
      return applies(segment, vmcs) && breaks(segment, vmcs, segments);
    },
  });

const always = rule(() => true);
const usable = rule(({ isUsable }) => isUsable);
const inVirtual8086 = rule((_, vmcs) => isVirtual8086(vmcs));
/** Rules on CS hold whatever its unusable bit says. */
const otherwise = (name: SegmentName) =>
  rule(({ isUsable }, vmcs) => !isVirtual8086(vmcs) && (isUsable || name === 'CS'));

const isRestricted = ({ has }: EntryFields): boolean => !has('unrestricted guest');

const virtual8086Rules = SEGMENT_NAMES.flatMap((name) => [
  inVirtual8086(
    name,
    'has a base other than 16 times its selector in virtual-8086 mode.',
    ({ base, selector }) => base !== selector << 4n,
  ),
  inVirtual8086(
    name,
    'has a limit other than 0xffff in virtual-8086 mode.',
    ({ limit }) => limit !== VIRTUAL_8086_LIMIT,
  ),
  inVirtual8086(
    name,
    'has access rights other than 0xf3 in virtual-8086 mode.',
    ({ rights }) => rights !== VIRTUAL_8086_RIGHTS,
  ),
]);

/** What holds for each of the six code and data segments. */
const commonRules = SEGMENT_NAMES.flatMap((name) => [
  otherwise(name)(
    name,
    'must be a code or data segment (S = 1).',
    ({ rights }) => !hasAny(rights, IS_CODE_OR_DATA),
  ),
  otherwise(name)(name, 'must be present.', ({ rights }) => !hasAny(rights, PRESENT)),
  otherwise(name)(name, 'has reserved access rights set.', ({ rights }) =>
    hasAny(rights, RESERVED),
  ),
  otherwise(name)(name, 'has a granularity that does not fit its limit.', isMisgranular),
]);

const codeRules: readonly SegmentRule[] = [
  otherwise('CS')('CS', 'must be an accessed code segment.', ({ type }, vmcs) => {
    const isCode = NONCONFORMING_CODE.includes(type) || CONFORMING_CODE.includes(type);
    return !isCode && (type !== ACCESSED_WRITABLE_DATA || isRestricted(vmcs));
  }),
  otherwise('CS')(
    'CS',
    'has a DPL that does not fit its type and that of SS.',
    ({ type, dpl }, _, segments) => {
      const stack = segments.SS.dpl;
      if (type === ACCESSED_WRITABLE_DATA) return dpl !== 0;
      return NONCONFORMING_CODE.includes(type) ? dpl !== stack : dpl > stack;
    },
  ),
  otherwise('CS')(
    'CS',
    'has L and D/B both set.',
    ({ rights }, { has }) =>
      has('IA-32e mode guest') && hasAny(rights, LONG) && hasAny(rights, DEFAULT_BIG),
  ),
  always('CS', 'has a base beyond 4 GiB.', ({ base }) => isHigh(base)),
];

const stackRules: readonly SegmentRule[] = [
  always(
    'SS',
    'has an RPL that differs from that of CS.',
    (stack, vmcs, { CS }) =>
      !isVirtual8086(vmcs) && isRestricted(vmcs) && rplOf(stack) !== rplOf(CS),
  ),
  otherwise('SS')(
    'SS',
    'must be an accessed, writable data segment.',
    ({ type }) => !STACK_TYPES.includes(type),
  ),
  always(
    'SS',
    'has a DPL that does not fit its RPL, the type of CS or CR0.PE.',
    (stack, vmcs, { CS }) => {
      if (isVirtual8086(vmcs)) return false;
      const isZero = CS.type === ACCESSED_WRITABLE_DATA || !hasAny(vmcs.get('GUEST_CR0'), 1n);
      return (isRestricted(vmcs) && stack.dpl !== rplOf(stack)) || (isZero && stack.dpl !== 0);
    },
  ),
];

const dataRules = DATA_NAMES.flatMap((name) => [
  otherwise(name)(
    name,
    'must be an accessed segment, readable if it is code.',
    ({ type }) => (type & ACCESSED) === 0 || (type & (CODE | READABLE)) === CODE,
  ),
  otherwise(name)(
    name,
    'has a DPL below its RPL.',
    (segment, vmcs) =>
      isRestricted(vmcs) && segment.type <= BUSY_TSS && segment.dpl < rplOf(segment),
  ),
]);

const baseRules: readonly SegmentRule[] = [
  ...(['FS', 'GS', 'TR'] as const).map((name) =>
    always(name, 'has a base that is not canonical.', ({ base }) => !isCanonical(base)),
  ),
  ...(['SS', 'DS', 'ES'] as const).map((name) =>
    usable(name, 'has a base beyond 4 GiB.', ({ base }) => isHigh(base)),
  ),
  usable('LDTR', 'has a base that is not canonical.', ({ base }) => !isCanonical(base)),
];

const isSystemSegment = ({ rights }: Segment, type: readonly number[]): boolean =>
  type.includes(Number(rights & 15n)) &&
  !hasAny(rights, IS_CODE_OR_DATA | RESERVED) &&
  hasAny(rights, PRESENT);

const systemRules: readonly SegmentRule[] = [
  always('TR', 'has its table indicator set.', ({ selector }) => hasAny(selector, TABLE_INDICATOR)),
  always('TR', 'must be usable, present and a busy TSS.', (task, { has }) => {
    const types = has('IA-32e mode guest') ? [BUSY_TSS] : [BUSY_TSS_16, BUSY_TSS];
    return !task.isUsable || !isSystemSegment(task, types);
  }),
  always('TR', 'has a granularity that does not fit its limit.', isMisgranular),
  usable('LDTR', 'has its table indicator set.', ({ selector }) =>
    hasAny(selector, TABLE_INDICATOR),
  ),
  usable('LDTR', 'must be present and an LDT.', (table) => !isSystemSegment(table, [LDT])),
  usable('LDTR', 'has a granularity that does not fit its limit.', isMisgranular),
];

const SEGMENT_RULES: readonly SegmentRule[] = [
  ...virtual8086Rules,
  ...commonRules,
  ...codeRules,
  ...stackRules,
  ...dataRules,
  ...baseRules,
  ...systemRules,
];
