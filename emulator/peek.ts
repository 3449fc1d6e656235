/**
 * The debugger's reads and writes of memory: no fault, no accessed bit, permissions ignored.
 */

import type { XenDomain } from './hypervisor/domain.ts';
import { maddrOfGpa, walkGuest } from './hypervisor/guest-walk.ts';
import {
  type Hypervisor,
  pagingOf,
  stageOf,
  touchGpa,
  writeMaddr,
} from './hypervisor/hypervisor.ts';
import type { AddressSpace, PeekedMemory } from './machine.ts';
import { type Gpa, gfnOf, type Maddr } from './memory/addresses.ts';
import { hostAddressOf } from './memory/machine-memory.ts';

/** Where an address leads: RAM of the machine, memory of a domain that may have no frame now. */
type Place =
  | { readonly maddr: Maddr }
  | { readonly domain: XenDomain; readonly gpa: number }
  | undefined;

/** Translates one address of a space. */
const translator = (hypervisor: Hypervisor, space: AddressSpace): ((address: bigint) => Place) => {
  const { memory } = hypervisor.hardware;
  if (space.kind === 'maddr') return (address) => ({ maddr: Number(address) as Maddr });
  const domain = hypervisor.domains.get(space.domain);
  if (domain === undefined) return () => undefined;
  if (space.kind === 'gpa') return (address) => ({ domain, gpa: Number(address) });
  const vcpu = domain.vcpus[space.vcpu];
  if (vcpu === undefined) return () => undefined;
  const paging = pagingOf(hypervisor, vcpu);
  const stage = stageOf(domain);
  return (address) => {
    const { gpa, maddr } = walkGuest(memory, stage, paging, address);
    if (stage.isMachine === true) return maddr === undefined ? undefined : { maddr };
    return gpa === undefined ? undefined : { domain, gpa };
  };
};

/** Calls `use` for each piece within a page. */
const eachPiece = (
  hypervisor: Hypervisor,
  space: AddressSpace,
  address: bigint,
  lengthBytes: number,
  use: (place: Place, offset: number, pieceBytes: number) => void,
): void => {
  const translate = translator(hypervisor, space);
  for (let offset = 0; offset < lengthBytes; ) {
    const at = BigInt.asUintN(64, address + BigInt(offset));
    const pieceBytes = Math.min(lengthBytes - offset, 4096 - Number(at & 0xfffn));
    use(translate(at), offset, pieceBytes);
    offset += pieceBytes;
  }
};

/** Bytes at a place, as they are, whether the page has a frame or not. */
const bytesAt = (
  { hardware }: Hypervisor,
  place: Place,
  lengthBytes: number,
): Uint8Array | undefined => {
  if (place === undefined) return undefined;
  const maddr = 'maddr' in place ? place.maddr : maddrOfGpa(place.domain.p2m, place.gpa);
  if (maddr !== undefined) {
    if (maddr + lengthBytes > hardware.memory.ramBytes) return undefined;
    const host = hostAddressOf(maddr);
    return hardware.memory.bytes.subarray(host, host + lengthBytes);
  }
  if ('maddr' in place) return undefined;
  const within = place.gpa % 4096;
  return place.domain.p2m
    .absentPage(gfnOf(place.gpa as Gpa))
    ?.subarray(within, within + lengthBytes);
};

export const peekMemory = (
  hypervisor: Hypervisor,
  space: AddressSpace,
  address: bigint,
  lengthBytes: number,
): PeekedMemory => {
  const bytes = new Uint8Array(lengthBytes);
  const holes: { offset: number; lengthBytes: number }[] = [];
  eachPiece(hypervisor, space, address, lengthBytes, (place, offset, pieceBytes) => {
    const found = bytesAt(hypervisor, place, pieceBytes);
    if (found !== undefined) {
      bytes.set(found, offset);
      return;
    }
    const last = holes.at(-1);
    if (last !== undefined && last.offset + last.lengthBytes === offset) {
      last.lengthBytes += pieceBytes;
    } else {
      holes.push({ offset, lengthBytes: pieceBytes });
    }
  });
  return { bytes, holes };
};

/** Writes all or nothing, unless frames run out on the way. */
export const pokeMemory = (
  hypervisor: Hypervisor,
  space: AddressSpace,
  address: bigint,
  bytes: Uint8Array,
): string | undefined => {
  const [hole] = peekMemory(hypervisor, space, address, bytes.length).holes;
  if (hole !== undefined) {
    return `There is no memory at ${space.kind} 0x${(address + BigInt(hole.offset)).toString(16)}.`;
  }
  let problem: string | undefined;
  eachPiece(hypervisor, space, address, bytes.length, (place, offset, pieceBytes) => {
    // A page that is away comes back, and one that is shared gets a frame of its own.
    const maddr =
      place !== undefined && 'domain' in place
        ? touchGpa(hypervisor, place.domain, place.gpa, 'write')
        : place?.maddr;
    if (maddr !== undefined) {
      writeMaddr(hypervisor, maddr, bytes.subarray(offset, offset + pieceBytes));
    } else {
      problem ??= `No frame is free for ${space.kind} 0x${(address + BigInt(offset)).toString(16)}.`;
    }
  });
  return problem;
};
