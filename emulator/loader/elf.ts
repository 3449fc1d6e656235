/**
 * ELF executables for x86, 32 and 64 bits: program headers, Xen's notes, symbols, DWARF lines.
 * Sources: System V ABI, chapter 4 "Object Files"; Xen public/elfnote.h.
 * Symbols and lines are a courtesy: what is wrong with them does not keep a program from running,
 * and they are left out; what is wrong with headers and segments is a ProgramError.
 */
import type { ProgramLine, ProgramSymbol } from '../machine.ts';
import { ByteReader } from './byte-reader.ts';
import { readLineProgram } from './dwarf-lines.ts';
import { hex, type LoadedProgram, ProgramError, type ProgramSegment } from './loader.ts';
import { interpretNotes, readNotes } from './xen-notes.ts';

const PT_LOAD = 1;
const PT_NOTE = 4;
const SHT_SYMTAB = 2;
const SHT_NOTE = 7;
const SHT_NOBITS = 8;
const MAXIMUM_HEADERS = 4096;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly alignment: number;
}

export const isElf = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;

/** Loads an ELF executable that Xen can enter; throws ProgramError. */
export const loadElf = (bytes: Uint8Array): LoadedProgram => {
  const file = new ByteReader(bytes);
  const wide = elfClass(file) === 64;
  const machine = file.u16(18, 'e_machine');
  if (machine !== (wide ? 62 : 3)) {
    throw new ProgramError(`e_machine at offset 0x12 is ${machine}; x86 is ${wide ? 62 : 3}.`);
  }
  const type = file.u16(16, 'e_type');
  if (type !== 2 && type !== 3) {
    throw new ProgramError(`e_type at offset 0x10 is ${type}; an executable is 2 (or 3, linked).`);
  }
  const headers = programHeaders(file, wide);
  const segments = headers.filter(({ type }) => type === PT_LOAD).map((h) => segment(file, h));
  const loaded = segments.filter(({ memoryBytes }) => memoryBytes > 0);
  if (loaded.length === 0)
    throw new ProgramError('The program has no PT_LOAD segment with memory.');
  const sections = optional(() => sectionHeaders(file, wide)) ?? [];
  const notes = new Map<number, Uint8Array>();
  for (const { type, offset, fileBytes, alignment } of headers) {
    if (type === PT_NOTE) readNotes(file, offset, fileBytes, alignment, notes);
  }
  for (const { type, offset, size, alignment } of sections) {
    if (type === SHT_NOTE && notes.size === 0) {
      optional(() => readNotes(file, offset, size, alignment, notes));
    }
  }
  const { pvhEntry, pv, texts } = interpretNotes(
    notes,
    optional(() => legacyText(file, sections)),
    wide ? file.u64(24, 'e_entry') : BigInt(file.u32(24, 'e_entry')),
  );
  if (pvhEntry === undefined && pv === undefined) {
    throw new ProgramError(
      'The program has no Xen note PHYS32_ENTRY (type 18), so a PVH domain can not enter it, and none for a PV domain.',
    );
  }
  return {
    format: wide ? 'elf64' : 'elf32',
    segments: loaded,
    entry: pvhEntry,
    pv: wide ? pv : undefined,
    symbols: optional(() => readSymbols(file, wide, sections)) ?? [],
    lines: optional(() => readLines(file, sections)) ?? [],
    notes: texts,
  };
};

const elfClass = (file: ByteReader): 32 | 64 => {
  const value = file.u8(4, 'EI_CLASS');
  if (value !== 1 && value !== 2) {
    throw new ProgramError(
      `EI_CLASS at offset 0x4 is ${value}; 1 (32 bits) or 2 (64) was expected.`,
    );
  }
  const order = file.u8(5, 'EI_DATA');
  if (order !== 1) {
    throw new ProgramError(`EI_DATA at offset 0x5 is ${order}; 1 (little-endian) was expected.`);
  }
  return value === 2 ? 64 : 32;
};

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  readonly alignment: number;
  readonly index: number;
}

const programHeaders = (file: ByteReader, wide: boolean): ProgramHeader[] => {
  const table = wide ? file.size(32, 'e_phoff') : file.u32(28, 'e_phoff');
  const entryBytes = file.u16(wide ? 54 : 42, 'e_phentsize');
  const count = file.u16(wide ? 56 : 44, 'e_phnum');
  if (count === 0) throw new ProgramError('e_phnum is 0: the file has no program headers.');
  if (count > MAXIMUM_HEADERS || entryBytes < (wide ? 56 : 32)) {
    throw new ProgramError(`e_phnum ${count} with e_phentsize ${entryBytes} is not plausible.`);
  }
  return Array.from({ length: count }, (_, index): ProgramHeader => {
    const at = table + index * entryBytes;
    const name = (field: string): string => `${field} of program header ${index}`;
    const word = (wideAt: number, narrowAt: number, field: string): number =>
      wide ? file.size(at + wideAt, name(field)) : file.u32(at + narrowAt, name(field));
    const type = file.u32(at, name('p_type'));
    // Only what is loaded or read needs sensible fields; GNU_STACK and others are passed over.
    const used = type === PT_LOAD || type === PT_NOTE;
    return {
      type,
      index,
      offset: used ? word(8, 4, 'p_offset') : 0,
      address: used ? word(24, 12, 'p_paddr') : 0,
      fileBytes: used ? word(32, 16, 'p_filesz') : 0,
      memoryBytes: used ? word(40, 20, 'p_memsz') : 0,
      alignment: used ? word(48, 28, 'p_align') : 0,
    };
  });
};

const segment = (file: ByteReader, header: ProgramHeader): ProgramSegment => {
  const { index, fileBytes, memoryBytes, address, offset } = header;
  if (fileBytes > memoryBytes) {
    throw new ProgramError(
      `p_filesz ${hex(fileBytes)} of program header ${index} is larger than p_memsz ${hex(memoryBytes)}.`,
    );
  }
  return {
    address,
    memoryBytes,
    bytes: file.slice(offset, fileBytes, `segment of program header ${index}`),
  };
};

const sectionHeaders = (file: ByteReader, wide: boolean): Section[] => {
  const table = wide ? file.size(40, 'e_shoff') : file.u32(32, 'e_shoff');
  const entryBytes = file.u16(wide ? 58 : 46, 'e_shentsize');
  const count = Math.min(file.u16(wide ? 60 : 48, 'e_shnum'), MAXIMUM_HEADERS);
  const namesIndex = file.u16(wide ? 62 : 50, 'e_shstrndx');
  if (table === 0 || entryBytes < (wide ? 64 : 40)) return [];
  const raw = Array.from({ length: count }, (_, index) => {
    const at = table + index * entryBytes;
    return {
      name: file.u32(at, 'sh_name'),
      type: file.u32(at + 4, 'sh_type'),
      offset: wide ? file.size(at + 24, 'sh_offset') : file.u32(at + 16, 'sh_offset'),
      size: wide ? file.size(at + 32, 'sh_size') : file.u32(at + 20, 'sh_size'),
      link: file.u32(at + (wide ? 40 : 24), 'sh_link'),
      alignment: wide ? file.size(at + 48, 'sh_addralign') : file.u32(at + 32, 'sh_addralign'),
    };
  });
  const names = raw[namesIndex];
  return raw.map((section) => ({
    ...section,
    name:
      names === undefined
        ? ''
        : (optional(() =>
            file.text(names.offset + section.name, names.offset + names.size, 'section name'),
          ) ?? ''),
  }));
};

const legacyText = (file: ByteReader, sections: readonly Section[]): string | undefined => {
  const section = sections.find(({ name }) => name === '__xen_guest');
  return section && file.text(section.offset, section.offset + section.size, '__xen_guest');
};

const readSymbols = (
  file: ByteReader,
  wide: boolean,
  sections: readonly Section[],
): ProgramSymbol[] => {
  const table = sections.find(({ type }) => type === SHT_SYMTAB);
  const names = table && sections[table.link];
  if (table === undefined || names === undefined) return [];
  const entryBytes = wide ? 24 : 16;
  const symbols: ProgramSymbol[] = [];
  for (let at = table.offset; at + entryBytes <= table.offset + table.size; at += entryBytes) {
    const kind = file.u8(at + (wide ? 4 : 12), 'st_info') & 15;
    const section = file.u16(at + (wide ? 6 : 14), 'st_shndx');
    const name = file.u32(at, 'st_name');
    // Labels, objects and functions that are defined in a section; no files, no sections.
    if (kind > 2 || section === 0 || section >= 0xff00 || name === 0) continue;
    symbols.push({
      name: file.text(names.offset + name, names.offset + names.size, 'symbol name'),
      address: wide ? file.u64(at + 8, 'st_value') : BigInt(file.u32(at + 4, 'st_value')),
      sizeBytes: wide ? file.size(at + 16, 'st_size') : file.u32(at + 8, 'st_size'),
      isFunction: kind === 2,
    });
  }
  return symbols.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
};

const readLines = (file: ByteReader, sections: readonly Section[]): ProgramLine[] => {
  const contents = (name: string): Uint8Array | undefined => {
    const section = sections.find((one) => one.name === name && one.type !== SHT_NOBITS);
    return section && file.slice(section.offset, section.size, name);
  };
  const lines = contents('.debug_line');
  if (lines === undefined) return [];
  return readLineProgram(lines, contents('.debug_line_str'), contents('.debug_str'));
};

/** The result, or undefined if the file's part is malformed. */
const optional = <T>(read: () => T): T | undefined => {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProgramError) return undefined;
    throw error;
  }
};
