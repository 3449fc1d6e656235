/**
 * What an ELF executable says to Xen: ELF notes of the name "Xen", or the older text in a section
 * `__xen_guest`. Sources: Xen public/elfnote.h; common/libelf/libelf-dominfo.c for the defaults.
 */
import type { ByteReader } from './byte-reader.ts';
import { hex, ProgramError } from './loader.ts';

/** How a PV domain is entered and laid out. Virtual addresses, but for paddrOffset. */
export interface PvProgram {
  readonly entry: bigint;
  /** Where pseudo-physical frame 0 is mapped. */
  readonly virtualBase: bigint;
  /** Subtracted from the p_paddr of segments. */
  readonly paddrOffset: number;
  /** Where the P2M list is to be mapped; undefined: behind the kernel. */
  readonly p2mBase: bigint | undefined;
  readonly hypercallPage: bigint | undefined;
  /** The initial RAM disk is named by its frame and not mapped. */
  readonly hasUnmappedModule: boolean;
}

export interface XenNotes {
  /** Guest-physical entry of a PVH domain. */
  readonly pvhEntry: number | undefined;
  readonly pv: PvProgram | undefined;
  /** "PHYS32_ENTRY = 0x100000". */
  readonly texts: readonly string[];
}

const NOTE = {
  ENTRY: 1,
  HYPERCALL_PAGE: 2,
  VIRT_BASE: 3,
  PADDR_OFFSET: 4,
  INIT_P2M: 15,
  MOD_START_PFN: 16,
  PHYS32_ENTRY: 18,
} as const;

const NAMES: Readonly<Record<number, string>> = {
  0: 'INFO',
  1: 'ENTRY',
  2: 'HYPERCALL_PAGE',
  3: 'VIRT_BASE',
  4: 'PADDR_OFFSET',
  5: 'XEN_VERSION',
  6: 'GUEST_OS',
  7: 'GUEST_VERSION',
  8: 'LOADER',
  9: 'PAE_MODE',
  10: 'FEATURES',
  11: 'BSD_SYMTAB',
  12: 'HV_START_LOW',
  13: 'L1_MFN_VALID',
  14: 'SUSPEND_CANCEL',
  15: 'INIT_P2M',
  16: 'MOD_START_PFN',
  17: 'SUPPORTED_FEATURES',
  18: 'PHYS32_ENTRY',
};
const TEXT_NOTES = new Set([0, 5, 6, 7, 8, 9, 10]);

/** The words of `__xen_guest` that notes have, too. */
const LEGACY: Readonly<Record<string, number>> = {
  VIRT_ENTRY: NOTE.ENTRY,
  VIRT_BASE: NOTE.VIRT_BASE,
  ELF_PADDR_OFFSET: NOTE.PADDR_OFFSET,
};
const LEGACY_TEXTS: Readonly<Record<string, number>> = {
  XEN_VER: 5,
  GUEST_OS: 6,
  GUEST_VER: 7,
  LOADER: 8,
  PAE: 9,
  FEATURES: 10,
};

/** Reads the notes in a part of a file into `notes`, by type. */
export const readNotes = (
  file: ByteReader,
  start: number,
  sizeBytes: number,
  alignment: number,
  notes: Map<number, Uint8Array>,
): void => {
  const step = alignment === 8 ? 8 : 4;
  const align = (value: number): number => Math.ceil(value / step) * step;
  file.slice(start, sizeBytes, 'notes');
  for (let at = start; at + 12 <= start + sizeBytes; ) {
    const nameBytes = file.u32(at, 'n_namesz');
    const valueBytes = file.u32(at + 4, 'n_descsz');
    const type = file.u32(at + 8, 'n_type');
    const value = at + align(12 + nameBytes);
    const isXen = nameBytes === 4 && file.text(at + 12, at + 16, 'note name') === 'Xen';
    const contents = file.slice(value, valueBytes, 'note value');
    if (isXen) notes.set(type, contents);
    at = value + align(valueBytes);
  }
};

/** `entryPoint` is e_entry, `legacy` the text of `__xen_guest`; throws ProgramError. */
export const interpretNotes = (
  notes: ReadonlyMap<number, Uint8Array>,
  legacy: string | undefined,
  entryPoint: bigint,
): XenNotes => {
  const number = (type: number): bigint | undefined => {
    const value = notes.get(type);
    return value && noteNumber(type, value);
  };
  const pvhEntry = number(NOTE.PHYS32_ENTRY);
  const texts = [...notes].map(([type, value]) => noteText(type, value));
  const isPv = notes.has(NOTE.ENTRY) || notes.has(NOTE.VIRT_BASE) || notes.has(NOTE.HYPERCALL_PAGE);
  if (legacy !== undefined && notes.size === 0) return interpretLegacy(legacy, entryPoint);
  const virtualBase = number(NOTE.VIRT_BASE) ?? 0n;
  return {
    pvhEntry: pvhEntry === undefined ? undefined : Number(pvhEntry),
    texts,
    pv: isPv
      ? {
          entry: number(NOTE.ENTRY) ?? entryPoint,
          virtualBase,
          paddrOffset: Number(number(NOTE.PADDR_OFFSET) ?? 0n),
          p2mBase: number(NOTE.INIT_P2M),
          hypercallPage: number(NOTE.HYPERCALL_PAGE),
          hasUnmappedModule: (number(NOTE.MOD_START_PFN) ?? 0n) !== 0n,
        }
      : undefined,
  };
};

const interpretLegacy = (text: string, entryPoint: bigint): XenNotes => {
  const texts: string[] = [];
  const numbers = new Map<number, bigint>();
  let hypercallFrame: bigint | undefined;
  for (const word of text.replace(/\0[\s\S]*$/, '').split(',')) {
    const [name = '', value = ''] = word.split('=').map((part) => part.trim());
    const type = LEGACY[name];
    if (type !== undefined) numbers.set(type, legacyNumber(name, value));
    if (name === 'HYPERCALL_PAGE') hypercallFrame = legacyNumber(name, value);
    const known = type ?? LEGACY_TEXTS[name];
    if (known !== undefined) texts.push(`${NAMES[known]} = ${value}`);
  }
  const virtualBase = numbers.get(NOTE.VIRT_BASE) ?? 0n;
  return {
    pvhEntry: undefined,
    texts,
    pv: {
      entry: numbers.get(NOTE.ENTRY) ?? entryPoint,
      virtualBase,
      paddrOffset: Number(numbers.get(NOTE.PADDR_OFFSET) ?? virtualBase),
      p2mBase: undefined,
      hypercallPage:
        hypercallFrame === undefined ? undefined : virtualBase + (hypercallFrame << 12n),
      hasUnmappedModule: false,
    },
  };
};

const legacyNumber = (name: string, value: string): bigint => {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(value)) {
    throw new ProgramError(`"${name}=${value}" in the section __xen_guest is no number.`);
  }
  return BigInt(value);
};

const noteNumber = (type: number, value: Uint8Array): bigint => {
  if (value.length !== 4 && value.length !== 8) {
    throw new ProgramError(
      `Xen's note ${NAMES[type] ?? type} has ${value.length} bytes; 4 or 8 were expected.`,
    );
  }
  return littleEndian(value);
};

const littleEndian = (value: Uint8Array): bigint =>
  value.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

const noteText = (type: number, value: Uint8Array): string => {
  const name = NAMES[type] ?? `type ${type}`;
  if (TEXT_NOTES.has(type))
    return `${name} = "${String.fromCharCode(...value).replace(/\0+$/, '')}"`;
  return `${name} = ${hex(littleEndian(value.slice(0, 8)))}`;
};
