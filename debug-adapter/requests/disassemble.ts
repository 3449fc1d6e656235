/**
 * disassemble: exactly as many rows as asked; where no memory is mapped, rows marked invalid.
 * The same address is in the same row whatever the offset.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { fileNameOf } from '../../assembler/index.ts';
import type { Vcpu } from '../../emulator/index.ts';
import { type Listing, type ListingRow, PAGE_BYTES, pageOf } from '../listing.ts';
import { parseReference } from '../memory-reference.ts';
import { hex } from '../numbers.ts';
import { present } from '../present.ts';
import { defineRequest, RequestError } from './request.ts';

type Row = DebugProtocol.DisassembledInstruction;

const COUNT_LIMIT = 10_000;
const LAST_ADDRESS = (1n << 64n) - 1n;

export const disassemble = defineRequest<
  DebugProtocol.DisassembleArguments,
  DebugProtocol.DisassembleResponse['body']
>({
  command: 'disassemble',
  capabilities: { supportsDisassembleRequest: true },
  handle({ debuggee }, args) {
    const place = parseReference(args.memoryReference, debuggee.machine.current);
    if (place?.space.kind !== 'gva') {
      throw new RequestError(`'${args.memoryReference}' is no linear address.`);
    }
    const { domain, vcpu: id } = place.space;
    const vcpu = debuggee.machine.domains.find((one) => one.id === domain)?.vcpus[id];
    if (vcpu === undefined) throw new RequestError(`There is no vCPU d${domain}.v${id}.`);
    const { listing, symbols, sources } = debuggee.guestOf(domain);
    const address = BigInt.asUintN(64, place.address + BigInt(args.offset ?? 0));
    const first = args.instructionOffset ?? 0;
    const count = Math.max(0, Math.min(args.instructionCount, COUNT_LIMIT));
    const rows = rowsAround(listing, vcpu, address, first, count);
    return {
      instructions: rows.map((row): Row => {
        if ('isHole' in row) {
          return { address: hex(row.address), instruction: '??', presentationHint: 'invalid' };
        }
        const source = sources.placeOf(row.address);
        return present({
          address: hex(row.address),
          instruction: row.text,
          instructionBytes: [...row.bytes]
            .map((byte) => byte.toString(16).padStart(2, '0'))
            .join(' '),
          symbol: symbols.at(row.address)[0],
          location:
            source === undefined ? undefined : { name: fileNameOf(source.path), path: source.path },
          line: source?.line,
        });
      }),
    };
  },
});

interface Hole {
  readonly address: bigint;
  readonly isHole: true;
}

type AnyRow = ListingRow | Hole;

/** `count` rows, of which the one at index -first contains the address. */
const rowsAround = (
  listing: Listing,
  vcpu: Vcpu,
  address: bigint,
  first: number,
  count: number,
): AnyRow[] => {
  const rowsOf = (page: bigint): readonly AnyRow[] => {
    const rows = listing.rowsOf(vcpu, page);
    return rows.length > 0
      ? rows
      : Array.from({ length: 256 }, (_, index) => ({
          address: page + BigInt(index) * 16n,
          isHole: true as const,
        }));
  };
  let rows = [...rowsOf(pageOf(address))];
  let at = rows.findLastIndex((row) => row.address <= address);
  let low = pageOf(address);
  let high = low;
  while (at + first < 0) {
    if (low === 0n) break;
    low -= PAGE_BYTES;
    const before = rowsOf(low);
    rows = [...before, ...rows];
    at += before.length;
  }
  while (at + first + count > rows.length && high < LAST_ADDRESS - PAGE_BYTES) {
    high += PAGE_BYTES;
    rows.push(...rowsOf(high));
  }
  const lowest = rows[0]?.address ?? 0n;
  const highest = rows.at(-1)?.address ?? 0n;
  return Array.from({ length: count }, (_, index): AnyRow => {
    const wanted = at + first + index;
    const row = rows[wanted];
    if (row !== undefined) return row;
    const outside =
      wanted < 0 ? lowest + BigInt(wanted) : highest + BigInt(wanted - rows.length + 1);
    return { address: BigInt.asUintN(64, outside), isHole: true };
  });
};
