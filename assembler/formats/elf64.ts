/**
 * A linked static executable, placed as GNU ld's default script places it with `-Ttext`:
 * notes above 0x400000 behind the headers, code at the given address, read-only data from the next
 * page on, then data, then what has no contents (System V ABI, "Object Files").
 */
import type { Label, Pass, Program } from '../passes.ts';
import type { Section } from '../sections.ts';
import { applyFixups } from './fixups.ts';
import { alignUp, type Output } from './flat.ts';

const PAGE = 0x1000;
const HEADER = 64;
const PROGRAM_HEADER = 56;
const SECTION_HEADER = 64;
const SYMBOL = 24;
const NOTE_SEGMENT = 0x40_0000;

const LOAD = 1;
const NOTE = 4;
const GNU_STACK = 0x6474_e551;

interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly sections: readonly Section[];
}

/** Places, links and writes the executable. */
export function writeElf(program: Program, pass: Pass, textAddress: number, path: string): Output {
  const kept = [...program.sections.values()].filter(
    ({ size, name }) => size > 0 || name === '.text',
  );
  const groups = {
    notes: kept.filter(({ attributes: a }) => a.alloc && a.note),
    code: kept.filter(({ attributes: a }) => a.alloc && !a.note && a.exec && !a.nobits),
    constants: kept.filter(
      ({ attributes: a }) => a.alloc && !a.note && !a.exec && !a.write && !a.nobits,
    ),
    data: kept.filter(({ attributes: a }) => a.alloc && !a.note && !a.exec && a.write && !a.nobits),
    empty: kept.filter(({ attributes: a }) => a.alloc && a.nobits),
  };
  const { notes, code, constants, data, empty } = groups;
  const placed = [...notes, ...code, ...constants, ...data, ...empty];
  const present = [...placed, ...kept.filter((section) => !placed.includes(section))];
  const stackNote = [...program.sections.values()].some(({ name }) => name === '.note.GNU-stack');
  const headerPage = groups.code.length > 0 && textAddress >= PAGE;
  const segments: Segment[] = [
    { type: LOAD, flags: 5, sections: groups.code },
    { type: LOAD, flags: 4, sections: groups.constants },
    { type: LOAD, flags: 6, sections: [...groups.data, ...groups.empty] },
    { type: LOAD, flags: 4, sections: groups.notes },
    { type: NOTE, flags: 4, sections: groups.notes },
  ].filter(({ sections }) => sections.length > 0);
  const extras = (headerPage ? 1 : 0) + (stackNote ? 1 : 0);
  const headers = HEADER + PROGRAM_HEADER * (segments.length + extras);
  let address = placeAt(groups.code, textAddress);
  address = alignUp(address, PAGE);
  address = placeAt(groups.constants, address);
  const { dataEnd, end } = placeData(groups.data, groups.empty, address);
  address = end;
  placeAt(groups.notes, NOTE_SEGMENT + headers);
  defineLinkerSymbols(program, dataEnd, address);
  for (const section of program.sections.values()) {
    if (!present.includes(section)) section.address = BigInt(textAddress);
    applyFixups(pass, section);
  }
  const fileEnd = placeInFile(segments, headers, groups.notes);
  const entry = entryOf(program, present, textAddress);
  return {
    bytes: writeFile(program, path, present, segments, fileEnd, entry, {
      headers,
      headerPage,
      stackNote,
    }),
    entry,
  };
}

function placeAt(sections: readonly Section[], start: number): number {
  let address = start;
  for (const section of sections) {
    address = alignUp(address, section.attributes.align);
    section.address = BigInt(address);
    address += section.size;
  }
  return address;
}

/**
 * Data starts at the same offset in its page as constants end, unless starting on a page saves
 * one: ld's DATA_SEGMENT_ALIGN.
 */
function placeData(
  data: readonly Section[],
  empty: readonly Section[],
  start: number,
): { dataEnd: number; end: number } {
  const base = alignUp(start, PAGE) + (start % PAGE);
  const place = (address: number) => {
    const dataEnd = placeAt(data, address);
    return { dataEnd, end: placeAt(empty, dataEnd) };
  };
  const placed = place(base);
  const first = (PAGE - (base % PAGE)) % PAGE;
  const last = placed.end % PAGE;
  const apart = Math.floor(base / PAGE) !== Math.floor(placed.end / PAGE);
  const saves = first !== 0 && last !== 0 && apart && first + last <= PAGE;
  return saves ? place(alignUp(start, PAGE)) : placed;
}

/** File offsets equal addresses modulo the page, as the loader's mapping needs. */
function placeInFile(
  segments: readonly Segment[],
  headers: number,
  notes: readonly Section[],
): number {
  let end = headers;
  for (const { type, sections } of segments) {
    if (type !== LOAD) continue;
    for (const section of sections) {
      const residue = Number(section.address % BigInt(PAGE));
      if (section.attributes.nobits) {
        section.fileOffset = end;
        continue;
      }
      const first = section === sections[0] && sections !== notes;
      let offset = first
        ? alignUp(end, PAGE) + residue
        : end + ((residue - (end % PAGE) + PAGE) % PAGE);
      if (first && offset - PAGE >= end) offset -= PAGE;
      section.fileOffset = offset;
      end = offset + section.size;
    }
  }
  return end;
}

function entryOf(program: Program, present: readonly Section[], textAddress: number): bigint {
  const start = program.labels.get('_start');
  if (start !== undefined && program.globals.has('_start')) return program.addressOf(start);
  return present.find(({ name }) => name === '.text')?.address ?? BigInt(textAddress);
}

function defineLinkerSymbols(program: Program, dataEnd: number, end: number): void {
  const values: Record<string, number> = { _edata: dataEnd, __bss_start: dataEnd, _end: end };
  for (const [name, value] of Object.entries(values)) {
    const token = program.externs.get(name);
    if (token === undefined || program.labels.has(name)) continue;
    const number = BigInt(value);
    const label: Label = {
      name,
      token,
      value: { number, terms: [], unknown: false },
      kind: 'label',
      section: undefined,
      offset: number,
      pass: program.passes,
      parent: undefined,
    };
    program.labels.set(name, label);
  }
}

class Strings {
  private readonly parts: string[] = [''];
  private length = 1;

  add(text: string): number {
    const at = this.length;
    this.parts.push(text);
    this.length += new TextEncoder().encode(text).length + 1;
    return at;
  }

  bytes(): Uint8Array {
    return new TextEncoder().encode(`${this.parts.join('\u0000')}\u0000`);
  }
}

function writeFile(
  program: Program,
  path: string,
  present: readonly Section[],
  segments: readonly Segment[],
  fileEnd: number,
  entry: bigint,
  extra: { headers: number; headerPage: boolean; stackNote: boolean },
): Uint8Array {
  const loose = present.filter(({ attributes }) => !attributes.alloc);
  let end = fileEnd;
  for (const section of loose) {
    section.fileOffset = end;
    end += section.size;
  }
  const names = new Strings();
  const strings = new Strings();
  const nameOf = new Map(present.map((section) => [section, names.add(section.name)]));
  const [symtabName, strtabName, shstrtabName] = ['.symtab', '.strtab', '.shstrtab'].map((name) =>
    names.add(name),
  );
  const { bytes: symbols, locals } = symbolTable(program, path, present, strings);
  const strtab = strings.bytes();
  const shstrtab = names.bytes();
  const symtabAt = alignUp(end, 8);
  const strtabAt = symtabAt + symbols.length;
  const shstrtabAt = strtabAt + strtab.length;
  const headersAt = alignUp(shstrtabAt + shstrtab.length, 8);
  const count = present.length + 4;
  const file = new Uint8Array(headersAt + SECTION_HEADER * count);
  const view = new DataView(file.buffer);
  const extras = (extra.headerPage ? 1 : 0) + (extra.stackNote ? 1 : 0);
  writeHeader(view, entry, segments.length + extras, headersAt, count);
  let next = HEADER;
  if (extra.headerPage) {
    const text = segments[0]?.sections[0];
    const address = (text?.address ?? 0n) - BigInt(text?.fileOffset ?? 0);
    writeProgramHeader(view, next, [LOAD, 4, 0, address, extra.headers, extra.headers, PAGE]);
    next += PROGRAM_HEADER;
  }
  for (const segment of segments) {
    writeSegment(view, next, segment);
    next += PROGRAM_HEADER;
  }
  if (extra.stackNote) writeProgramHeader(view, next, [GNU_STACK, 6, 0, 0n, 0, 0, 16]);
  for (const section of present) {
    if (!section.attributes.nobits) file.set(section.contents(), section.fileOffset);
  }
  file.set(symbols, symtabAt);
  file.set(strtab, strtabAt);
  file.set(shstrtab, shstrtabAt);
  for (const [i, section] of present.entries()) {
    const { attributes: a, address, fileOffset, size } = section;
    const type = a.note ? 7 : a.nobits ? 8 : 1;
    const flags = (a.write ? 1 : 0) | (a.alloc ? 2 : 0) | (a.exec ? 4 : 0) | (a.tls ? 0x400 : 0);
    const at = headersAt + (i + 1) * SECTION_HEADER;
    writeSection(view, at, [
      nameOf.get(section) ?? 0,
      type,
      flags,
      address,
      fileOffset,
      size,
      0,
      0,
      a.align,
      0,
    ]);
  }
  const last = headersAt + (present.length + 1) * SECTION_HEADER;
  const link = present.length + 2;
  writeSection(view, last, [
    symtabName ?? 0,
    2,
    0,
    0n,
    symtabAt,
    symbols.length,
    link,
    locals,
    8,
    SYMBOL,
  ]);
  writeSection(view, last + SECTION_HEADER, [
    strtabName ?? 0,
    3,
    0,
    0n,
    strtabAt,
    strtab.length,
    0,
    0,
    1,
    0,
  ]);
  writeSection(view, last + 2 * SECTION_HEADER, [
    shstrtabName ?? 0,
    3,
    0,
    0n,
    shstrtabAt,
    shstrtab.length,
    0,
    0,
    1,
    0,
  ]);
  return file;
}

function writeHeader(
  view: DataView,
  entry: bigint,
  segments: number,
  headersAt: number,
  count: number,
): void {
  for (const [i, byte] of [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1].entries()) view.setUint8(i, byte);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, entry, true);
  view.setBigUint64(32, BigInt(HEADER), true);
  view.setBigUint64(40, BigInt(headersAt), true);
  view.setUint16(52, HEADER, true);
  view.setUint16(54, PROGRAM_HEADER, true);
  view.setUint16(56, segments, true);
  view.setUint16(58, SECTION_HEADER, true);
  view.setUint16(60, count, true);
  view.setUint16(62, count - 1, true);
}

function writeSegment(view: DataView, at: number, { type, flags, sections }: Segment): void {
  const [first] = sections;
  const last = sections.at(-1);
  const filled = sections.filter(({ attributes }) => !attributes.nobits).at(-1);
  if (first === undefined || last === undefined) return;
  const fileBytes = filled === undefined ? 0 : filled.fileOffset + filled.size - first.fileOffset;
  const memoryBytes = Number(last.address - first.address) + last.size;
  const align = type === NOTE ? 4 : PAGE;
  writeProgramHeader(view, at, [
    type,
    flags,
    first.fileOffset,
    first.address,
    fileBytes,
    memoryBytes,
    align,
  ]);
}

type ProgramFields = readonly [number, number, number, bigint, number, number, number];

function writeProgramHeader(view: DataView, at: number, fields: ProgramFields): void {
  const [type, flags, offset, address, fileBytes, memoryBytes, align] = fields;
  view.setUint32(at, type, true);
  view.setUint32(at + 4, flags, true);
  view.setBigUint64(at + 8, BigInt(offset), true);
  view.setBigUint64(at + 16, address, true);
  view.setBigUint64(at + 24, address, true);
  view.setBigUint64(at + 32, BigInt(fileBytes), true);
  view.setBigUint64(at + 40, BigInt(memoryBytes), true);
  view.setBigUint64(at + 48, BigInt(align), true);
}

type SectionFields = readonly [
  number,
  number,
  number,
  bigint,
  number,
  number,
  number,
  number,
  number,
  number,
];

function writeSection(view: DataView, at: number, fields: SectionFields): void {
  const [name, type, flags, address, offset, size, link, info, align, entrySize] = fields;
  view.setUint32(at, name, true);
  view.setUint32(at + 4, type, true);
  view.setBigUint64(at + 8, BigInt(flags), true);
  view.setBigUint64(at + 16, address, true);
  view.setBigUint64(at + 24, BigInt(offset), true);
  view.setBigUint64(at + 32, BigInt(size), true);
  view.setUint32(at + 40, link, true);
  view.setUint32(at + 44, info, true);
  view.setBigUint64(at + 48, BigInt(align), true);
  view.setBigUint64(at + 56, BigInt(entrySize), true);
}

function symbolTable(
  program: Program,
  path: string,
  present: readonly Section[],
  strings: Strings,
): { bytes: Uint8Array; locals: number } {
  const all = [...program.labels.values()].filter(({ pass }) => pass === program.passes);
  const locals = all.filter(({ name }) => !program.globals.has(name));
  const globals = all.filter(({ name }) => program.globals.has(name));
  const bytes = new Uint8Array(SYMBOL * (2 + all.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(SYMBOL, strings.add(path), true);
  view.setUint8(SYMBOL + 4, 4);
  view.setUint16(SYMBOL + 6, 0xfff1, true);
  for (const [i, label] of [...locals, ...globals].entries()) {
    const at = SYMBOL * (i + 2);
    const index = label.section === undefined ? -1 : present.indexOf(label.section);
    view.setUint32(at, strings.add(label.name), true);
    view.setUint8(at + 4, i < locals.length ? 0 : 0x10);
    view.setUint16(at + 6, index < 0 ? 0xfff1 : index + 1, true);
    view.setBigUint64(at + 8, program.addressOf(label), true);
  }
  return { bytes, locals: 2 + locals.length };
}
