/**
 * The debugger's reads and writes of memory: no fault, no accessed bit, permissions ignored.
 */
import { maddrOfGpa, walkGuest } from './hypervisor/guest-walk.ts';
import { type Hypervisor, pagingOf, stageOf, writeMaddr } from './hypervisor/hypervisor.ts';
import type { AddressSpace, PeekedMemory } from './machine.ts';
import type { Maddr } from './memory/addresses.ts';
import { hostAddressOf } from './memory/machine-memory.ts';

/** Translates one address of a space; undefined where nothing is. */
const translator = (
  hypervisor: Hypervisor,
  space: AddressSpace,
): ((address: bigint) => Maddr | undefined) => {
  const { memory } = hypervisor.hardware;
  const inRam = (maddr: number | undefined): Maddr | undefined =>
    maddr !== undefined && maddr < memory.ramBytes ? (maddr as Maddr) : undefined;
  if (space.kind === 'maddr') return (address) => inRam(Number(address));
  const domain = hypervisor.domains.get(space.domain);
  if (domain === undefined) return () => undefined;
  if (space.kind === 'gpa') return (address) => inRam(maddrOfGpa(domain.p2m, Number(address)));
  const vcpu = domain.vcpus[space.vcpu];
  if (vcpu === undefined) return () => undefined;
  const paging = pagingOf(hypervisor, vcpu);
  return (address) => inRam(walkGuest(memory, stageOf(domain), paging, address).maddr);
};

/** Calls `use` for each piece within a page; `maddr` is undefined for a hole. */
const eachPiece = (
  hypervisor: Hypervisor,
  space: AddressSpace,
  address: bigint,
  lengthBytes: number,
  use: (maddr: Maddr | undefined, offset: number, pieceBytes: number) => void,
): void => {
  const translate = translator(hypervisor, space);
  for (let offset = 0; offset < lengthBytes; ) {
    const at = BigInt.asUintN(64, address + BigInt(offset));
    const pieceBytes = Math.min(lengthBytes - offset, 4096 - Number(at & 0xfffn));
    use(translate(at), offset, pieceBytes);
    offset += pieceBytes;
  }
};

export const peekMemory = (
  hypervisor: Hypervisor,
  space: AddressSpace,
  address: bigint,
  lengthBytes: number,
): PeekedMemory => {
  const bytes = new Uint8Array(lengthBytes);
  const holes: { offset: number; lengthBytes: number }[] = [];
  eachPiece(hypervisor, space, address, lengthBytes, (maddr, offset, pieceBytes) => {
    if (maddr !== undefined) {
      const host = hostAddressOf(maddr);
      bytes.set(hypervisor.hardware.memory.bytes.subarray(host, host + pieceBytes), offset);
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

/** Writes all or nothing. */
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
  eachPiece(hypervisor, space, address, bytes.length, (maddr, offset, pieceBytes) => {
    if (maddr !== undefined) {
      writeMaddr(hypervisor, maddr, bytes.subarray(offset, offset + pieceBytes));
    }
  });
  return undefined;
};
