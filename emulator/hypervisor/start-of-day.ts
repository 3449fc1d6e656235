/**
 * What a PVH domain finds when it starts: hvm_start_info, command line, modules, memory map.
 * Source: Xen public/arch-x86/hvm/start_info.h; docs/misc/pvh.pandoc.
 */
import type { LoadedProgram } from '../loader/index.ts';
import { type DomainConfig, MachineConfigError } from '../machine.ts';
import { writeNumber } from './hypercalls/hypercall.ts';

export interface MemoryMapEntry {
  readonly address: number;
  readonly lengthBytes: number;
  /** E820: 1 RAM, 2 reserved. */
  readonly type: number;
}

/** First of the pages that the hypervisor keeps for rings, as libxenguest places them. */
export const SPECIAL_FIRST = 0xf_eff8;
export const SPECIAL_PAGES = 8;
export const XENSTORE_GFN = SPECIAL_FIRST + 4;
export const CONSOLE_GFN = SPECIAL_FIRST + 7;

const START_MAGIC = 0x336e_c578n;
const HEADER_BYTES = 56;
const MODULE_BYTES = 32;
const MAP_ENTRY_BYTES = 24;
const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

export const memoryMapOf = ({ memoryBytes }: DomainConfig): MemoryMapEntry[] => [
  { address: 0, lengthBytes: memoryBytes, type: 1 },
  { address: SPECIAL_FIRST * 4096, lengthBytes: SPECIAL_PAGES * 4096, type: 2 },
];

export interface StartOfDay {
  /** Pieces to write, guest-physical. */
  readonly pieces: readonly { readonly address: number; readonly bytes: Uint8Array }[];
  readonly entry: number;
  /** For EBX. */
  readonly startInfo: number;
}

/** Lays program, start info and modules out; a MachineConfigError if they do not fit. */
export const layOut = (config: DomainConfig, program: LoadedProgram): StartOfDay => {
  const what = config.programName ?? `The program of domain "${config.name}"`;
  let end = 0;
  for (const { address, memoryBytes } of program.segments) {
    if (address + memoryBytes > config.memoryBytes) {
      throw new MachineConfigError(
        `${what} needs memory from 0x${address.toString(16)} to 0x${(address + memoryBytes).toString(16)}; the domain has ${config.memoryBytes} bytes.`,
      );
    }
    end = Math.max(end, address + memoryBytes);
  }
  if (program.entry === undefined) {
    throw new MachineConfigError(`${what} has no Xen note PHYS32_ENTRY, which a PVH domain needs.`);
  }
  if (program.entry >= config.memoryBytes) {
    throw new MachineConfigError(
      `${what} is entered at 0x${program.entry.toString(16)}, outside the domain's memory.`,
    );
  }
  const startInfo = roundUp(end, 4096);
  const modules = config.modules ?? [];
  const map = memoryMapOf(config);
  const commandLine = textBytes(config.commandLine ?? '');
  const commandLineAt = startInfo + HEADER_BYTES;
  const modulesAt = roundUp(commandLineAt + commandLine.length, 8);
  const mapAt = modulesAt + modules.length * MODULE_BYTES;
  let free = mapAt + map.length * MAP_ENTRY_BYTES;
  const pieces = program.segments.map(({ address, bytes }) => ({ address, bytes }));
  const place = (bytes: Uint8Array, alignment: number): number => {
    const address = roundUp(free, alignment);
    pieces.push({ address, bytes });
    free = address + bytes.length;
    return address;
  };
  const moduleTable = new Uint8Array(modules.length * MODULE_BYTES);
  modules.forEach(({ bytes, commandLine: text }, index) => {
    const at = index * MODULE_BYTES;
    writeNumber(
      moduleTable,
      at + 16,
      8,
      text === undefined ? 0n : BigInt(place(textBytes(text), 1)),
    );
    writeNumber(moduleTable, at, 8, BigInt(place(bytes, 4096)));
    writeNumber(moduleTable, at + 8, 8, BigInt(bytes.length));
  });
  const header = new Uint8Array(HEADER_BYTES);
  const fields: readonly (readonly [number, number, number | bigint])[] = [
    [0, 4, START_MAGIC],
    [4, 4, 1],
    [12, 4, modules.length],
    [16, 8, modules.length === 0 ? 0 : modulesAt],
    [24, 8, commandLineAt],
    [40, 8, mapAt],
    [48, 4, map.length],
  ];
  for (const [offset, size, value] of fields) writeNumber(header, offset, size, BigInt(value));
  const mapBytes = new Uint8Array(map.length * MAP_ENTRY_BYTES);
  map.forEach(({ address, lengthBytes, type }, index) => {
    writeNumber(mapBytes, index * MAP_ENTRY_BYTES, 8, BigInt(address));
    writeNumber(mapBytes, index * MAP_ENTRY_BYTES + 8, 8, BigInt(lengthBytes));
    writeNumber(mapBytes, index * MAP_ENTRY_BYTES + 16, 4, BigInt(type));
  });
  pieces.push(
    { address: startInfo, bytes: header },
    { address: commandLineAt, bytes: commandLine },
    { address: modulesAt, bytes: moduleTable },
    { address: mapAt, bytes: mapBytes },
  );
  if (free > config.memoryBytes) {
    throw new MachineConfigError(
      `${what} with its start info and modules ends at 0x${free.toString(16)}; the domain has ${config.memoryBytes} bytes.`,
    );
  }
  return { pieces, entry: program.entry, startInfo };
};

const textBytes = (text: string): Uint8Array =>
  Uint8Array.from([...text].map((char) => char.charCodeAt(0) & 0xff).concat(0));
