/**
 * The line-number programs of .debug_line, versions 2 to 5.
 * Source: DWARF Debugging Information Format, version 5, section 6.2 "Line Number Information".
 */
import type { ProgramLine } from '../machine.ts';
import { ByteReader } from './byte-reader.ts';
import { ProgramError } from './loader.ts';

/** More rows than this in one file are taken for a damaged one. */
const MAXIMUM_ROWS = 4_000_000;

const DW_LNCT_path = 1;
const DW_LNCT_directory_index = 2;

/** All rows of all units, in order of the file; throws ProgramError where it is malformed. */
export const readLineProgram = (
  section: Uint8Array,
  lineStrings: Uint8Array | undefined,
  strings: Uint8Array | undefined,
): ProgramLine[] => {
  const rows: ProgramLine[] = [];
  const reader = new Cursor(section);
  while (reader.at + 4 < section.length) readUnit(reader, rows, { lineStrings, strings });
  return rows;
};

interface StringSections {
  readonly lineStrings: Uint8Array | undefined;
  readonly strings: Uint8Array | undefined;
}

interface FileName {
  readonly path: string;
  readonly directory: number;
}

class Cursor {
  at = 0;
  readonly #file: ByteReader;

  constructor(bytes: Uint8Array) {
    this.#file = new ByteReader(bytes);
  }

  u8 = (): number => this.#file.u8(this.at++, '.debug_line');
  i8 = (): number => (this.u8() << 24) >> 24;
  u16 = (): number => this.#advance(2, this.#file.u16(this.at, '.debug_line'));
  u32 = (): number => this.#advance(4, this.#file.u32(this.at, '.debug_line'));
  u64 = (): bigint => this.#advance(8, this.#file.u64(this.at, '.debug_line'));

  unsigned(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  signed(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return byte & 0x40 ? value - scale * 128 : value;
    }
  }

  text(): string {
    let value = '';
    for (let byte = this.u8(); byte !== 0; byte = this.u8()) value += String.fromCharCode(byte);
    return value;
  }

  #advance<T>(bytes: number, value: T): T {
    this.at += bytes;
    return value;
  }
}

const readUnit = (reader: Cursor, rows: ProgramLine[], strings: StringSections): void => {
  let lengthBytes = reader.u32();
  const wide = lengthBytes === 0xffff_ffff;
  if (wide) lengthBytes = Number(reader.u64());
  const end = reader.at + lengthBytes;
  const offset = (): number => (wide ? Number(reader.u64()) : reader.u32());
  const version = reader.u16();
  if (version < 2 || version > 5) {
    reader.at = end;
    return;
  }
  if (version === 5) reader.at += 2;
  const headerBytes = offset();
  const program = reader.at + headerBytes;
  const minimumLength = reader.u8();
  if (version >= 4) reader.u8();
  reader.u8();
  const lineBase = reader.i8();
  const lineRange = reader.u8();
  const opcodeBase = reader.u8();
  if (lineRange === 0) throw new ProgramError('line_range of .debug_line is 0.');
  const operandCounts = Array.from({ length: Math.max(0, opcodeBase - 1) }, () => reader.u8());
  const [directories, files] =
    version === 5 ? entryTables(reader, offset, strings) : oldTables(reader);
  const pathOf = (index: number): string => {
    const file = files[version === 5 ? index : index - 1];
    if (file === undefined) return '';
    const directory = directories[version === 5 ? file.directory : file.directory - 1];
    return directory === undefined || file.path.startsWith('/')
      ? file.path
      : `${directory}/${file.path}`;
  };
  reader.at = program;

  let address = 0n;
  let file = 1;
  let line = 1;
  let column = 0;
  const emit = (isEnd: boolean): void => {
    if (rows.length >= MAXIMUM_ROWS) throw new ProgramError('.debug_line has too many rows.');
    rows.push({ address, file: pathOf(file), line, column, isEnd });
  };
  const advance = (operations: number): void => {
    address = BigInt.asUintN(64, address + BigInt(operations * minimumLength));
  };
  const reset = (): void => {
    address = 0n;
    file = 1;
    line = 1;
    column = 0;
  };
  const special = (opcode: number): void => {
    const adjusted = opcode - opcodeBase;
    advance(Math.floor(adjusted / lineRange));
    line += lineBase + (adjusted % lineRange);
    emit(false);
  };
  const extended = (): void => {
    const size = reader.unsigned();
    const next = reader.at + size;
    const code = size === 0 ? 0 : reader.u8();
    if (code === 1) {
      emit(true);
      reset();
    } else if (code === 2) {
      address = size >= 9 ? reader.u64() : BigInt(reader.u32());
    }
    reader.at = next;
  };
  const standard: Readonly<Record<number, () => void>> = {
    1: () => emit(false),
    2: () => advance(reader.unsigned()),
    3: () => {
      line += reader.signed();
    },
    4: () => {
      file = reader.unsigned();
    },
    5: () => {
      column = reader.unsigned();
    },
    6: () => {},
    7: () => {},
    8: () => advance(Math.floor((255 - opcodeBase) / lineRange)),
    9: () => {
      address += BigInt(reader.u16());
    },
    10: () => {},
    11: () => {},
    12: () => void reader.unsigned(),
  };
  while (reader.at < end) {
    const opcode = reader.u8();
    const known = standard[opcode];
    if (opcode >= opcodeBase) special(opcode);
    else if (opcode === 0) extended();
    else if (known !== undefined) known();
    else for (let i = operandCounts[opcode - 1] ?? 0; i > 0; i -= 1) reader.unsigned();
  }
  reader.at = end;
};

const oldTables = (reader: Cursor): [string[], FileName[]] => {
  const directories: string[] = [];
  for (let path = reader.text(); path !== ''; path = reader.text()) directories.push(path);
  const files: FileName[] = [];
  for (let path = reader.text(); path !== ''; path = reader.text()) {
    files.push({ path, directory: reader.unsigned() });
    reader.unsigned();
    reader.unsigned();
  }
  return [directories, files];
};

const entryTables = (
  reader: Cursor,
  offset: () => number,
  { lineStrings, strings }: StringSections,
): [string[], FileName[]] => {
  const read = (form: number): string | number => {
    switch (form) {
      case 0x08:
        return reader.text();
      case 0x1f:
        return stringAt(lineStrings, offset());
      case 0x0e:
        return stringAt(strings, offset());
      case 0x0b:
        return reader.u8();
      case 0x05:
        return reader.u16();
      case 0x06:
        return reader.u32();
      case 0x0f:
        return reader.unsigned();
      case 0x1e:
        reader.at += 16;
        return 0;
      default:
        throw new ProgramError(`Form ${form} in the header of .debug_line is not known.`);
    }
  };
  const table = (): FileName[] => {
    const format = Array.from({ length: reader.u8() }, () => [
      reader.unsigned(),
      reader.unsigned(),
    ]);
    const count = reader.unsigned();
    if (count > 0 && format.length === 0) throw new ProgramError('.debug_line has empty formats.');
    const entries: FileName[] = [];
    for (let index = 0; index < count; index += 1) {
      const values = new Map(format.map(([content, form]) => [content, read(form ?? 0)]));
      entries.push({
        path: String(values.get(DW_LNCT_path) ?? ''),
        directory: Number(values.get(DW_LNCT_directory_index) ?? 0),
      });
    }
    return entries;
  };
  const directories = table().map(({ path }) => path);
  return [directories, table()];
};

const stringAt = (section: Uint8Array | undefined, offset: number): string => {
  if (section === undefined || offset >= section.length) return '';
  const cursor = new Cursor(section);
  cursor.at = offset;
  return cursor.text();
};
