/**
 * The generated listing of one page of a vCPU's linear memory,
 * `hyperstep-asm:/d1.v0/0x100000.asm`: NASM text, with addresses and bytes as comments.
 */
import type { Debuggee } from '../debuggee.ts';
import { pageOf } from '../listing.ts';
import { hex } from '../numbers.ts';
import { findVcpu, vcpuName } from '../threads.ts';

const PATTERN = /^hyperstep-asm:\/d(\d+)\.v(\d+)\/(0x[0-9a-f]+)\.asm$/i;
const COMMENT_COLUMN = 40;

export interface ListingDocument {
  readonly text: string;
  /** The line, from 1, of an address; undefined if no row begins there. */
  lineOf(address: bigint): number | undefined;
  addressOf(line: number): bigint | undefined;
}

export interface ListingPlace {
  readonly domain: number;
  readonly vcpu: number;
  readonly page: bigint;
}

export const listingUri = (domain: number, vcpu: number, address: bigint): string =>
  `hyperstep-asm:/${vcpuName(domain, vcpu)}/${hex(pageOf(address))}.asm`;

export const parseListingUri = (uri: string): ListingPlace | undefined => {
  const match = PATTERN.exec(uri);
  if (match === null) return undefined;
  const page = pageOf(BigInt(match[3] ?? '0'));
  return { domain: Number(match[1]), vcpu: Number(match[2]), page };
};

/** Throws RangeError if there is no such vCPU. */
export const writeListing = (
  debuggee: Debuggee,
  { domain, vcpu: id, page }: ListingPlace,
): ListingDocument => {
  const vcpu = findVcpu(debuggee.machine, domain, id);
  if (vcpu === undefined) throw new RangeError(`There is no ${vcpuName(domain, id)}.`);
  const { listing, symbols } = debuggee.guestOf(domain);
  const lines = [
    `; ${vcpuName(domain, id)}, linear addresses ${hex(page)} to ${hex(page + 0xfffn)}`,
  ];
  const lineOf = new Map<bigint, number>();
  const addressOf = new Map<number, bigint>();
  const rows = listing.rowsOf(vcpu, page);
  if (rows.length === 0) lines.push('; No memory is mapped here.');
  for (const { address, bytes, text } of rows) {
    for (const name of symbols.at(address)) lines.push(`${name}:`);
    const target = /\b0x[0-9a-f]+\b/.exec(text)?.[0];
    const name = target === undefined ? undefined : symbols.at(BigInt(target))[0];
    const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const comment = `; ${address.toString(16).padStart(8, '0')}  ${digits}${name === undefined ? '' : `  ${name}`}`;
    lines.push(`${`    ${text}`.padEnd(COMMENT_COLUMN)} ${comment}`);
    lineOf.set(address, lines.length);
    addressOf.set(lines.length, address);
  }
  return {
    text: `${lines.join('\n')}\n`,
    lineOf: (address) => lineOf.get(address),
    addressOf: (line) => addressOf.get(line),
  };
};
