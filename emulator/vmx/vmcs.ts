/**
 * A VMCS: a 4 KiB region of machine memory, one 8-byte slot a field, after the revision identifier
 * and the abort indicator (SDM Vol. 3C 24.2 "Format of the VMCS Region"; the rest is up to the
 * processor). While a VMCS is current the processor keeps the guest state in its registers, the
 * window (cpu/state.ts), as SDM Vol. 3C 24.11.1 allows: those fields are read and written there.
 */
import { STATUS_FLAGS, statusFlagsOf, statusWordsOf } from '../../isa/index.ts';
import * as state from '../cpu/state.ts';
import type { Maddr } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';
import { VMCS_FIELDS, vmcsFieldOf } from './vmcs-fields.ts';

export const VMCS_REVISION = 0x4853_0001;
const FIELDS_OFFSET = 16;

/** Fields whose truth is in the window while the VMCS is current: encoding to slot. */
const windowSlots = new Map<number, number>();
for (let segment = 0; segment < 8; segment += 1) {
  windowSlots.set(0x0800 + segment * 2, state.segmentSelector(segment));
  windowSlots.set(0x4800 + segment * 2, state.segmentLimit(segment));
  windowSlots.set(0x4814 + segment * 2, state.segmentAccess(segment));
  windowSlots.set(0x6806 + segment * 2, state.segmentBase(segment));
}
for (let index = 0; index < 4; index += 1)
  windowSlots.set(0x280a + index * 2, state.PDPTES + index * 8);
for (const [encoding, slot] of [
  [0x2802, state.DEBUGCTL],
  [0x2804, state.PAT],
  [0x2806, state.EFER],
  [0x4810, state.GDTR_LIMIT],
  [0x4812, state.IDTR_LIMIT],
  [0x4824, state.INTERRUPTIBILITY],
  [0x4826, state.ACTIVITY],
  [0x482a, state.SYSENTER_CS],
  [0x6800, state.CR0],
  [0x6802, state.CR3],
  [0x6804, state.CR4],
  [0x6816, state.GDTR_BASE],
  [0x6818, state.IDTR_BASE],
  [0x681a, state.DR7],
  [0x681c, state.registerSlot(4)],
  [0x681e, state.RIP],
  [0x6822, state.PENDING_DEBUG],
  [0x6824, state.SYSENTER_ESP],
  [0x6826, state.SYSENTER_EIP],
] as const) {
  windowSlots.set(encoding, slot);
}
const RFLAGS = 0x6820;

/** Slots by address: those of the window in memory, or of a copy of it. */
export interface WindowSlots {
  get(slot: number): bigint;
  set(slot: number, value: bigint): void;
}

/** The window of the running vCPU. */
export const runningWindow = ({ quads }: MachineMemory): WindowSlots => ({
  // Not `?? 0n`: see quad() in cpu/cpu.ts.
  get: (slot) => quads[slot >>> 3] as bigint,
  set: (slot, value) => {
    quads[slot >>> 3] = value;
  },
});

/** A copy of the window, of a vCPU that does not run. */
export const savedWindow = (copy: Uint8Array): WindowSlots => {
  const view = new DataView(copy.buffer, copy.byteOffset, copy.byteLength);
  return {
    get: (slot) => view.getBigUint64(slot - state.WINDOW, true),
    set: (slot, value) => view.setBigUint64(slot - state.WINDOW, value, true),
  };
};

/** RFLAGS, put together from the status words and the rest. */
export const readRflags = (window: WindowSlots): bigint => {
  const status = statusFlagsOf(
    window.get(state.FLAG_RESULT),
    window.get(state.FLAG_SIGN),
    window.get(state.FLAG_CARRY),
  );
  return window.get(state.RFLAGS_REST) | BigInt(status);
};

/** Takes RFLAGS apart; bit 1 is always set. */
export const writeRflags = (window: WindowSlots, rflags: bigint): void => {
  const { result, sign, carry } = statusWordsOf(Number(rflags & 0xffffn));
  window.set(state.FLAG_RESULT, result);
  window.set(state.FLAG_SIGN, sign);
  window.set(state.FLAG_CARRY, carry);
  window.set(state.RFLAGS_REST, (rflags & ~BigInt(STATUS_FLAGS)) | 2n);
};

/** By bits 14:13 of the encoding: 16, 64, 32 bits, natural width. */
const MASKS = [0xffffn, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn, 0xffff_ffff_ffff_ffffn];

/**
 * Where the field of an encoding is: its slot in the window; or, negative, the number of its quad
 * in the region, from 1; 0 if there is no such field.
 */
const PLACES = new Int16Array(Math.max(...VMCS_FIELDS.map(({ encoding }) => encoding)) + 1);
for (const { encoding, index } of VMCS_FIELDS) {
  PLACES[encoding] = windowSlots.get(encoding) ?? -(index + 1);
}
PLACES[RFLAGS] = state.RFLAGS_REST;

const slotOf = (region: Maddr, number: number): number =>
  (hostAddressOf(region) + FIELDS_OFFSET - 8 + number * 8) >>> 3;

/** Index of a field's low half in the memory's words; the field is in the region, not the window. */
export const vmcsSlotOf = (region: Maddr, encoding: number): number => {
  const field = vmcsFieldOf(encoding);
  if (field === undefined) throw new Error(`There is no VMCS field 0x${encoding.toString(16)}.`);
  return slotOf(region, field.index + 1) * 2;
};

/**
 * A field of a VMCS, whose guest state is in `window`; undefined if there is no such field. Without
 * a region there is guest state alone.
 */
export const readVmcs = (
  { quads }: MachineMemory,
  region: Maddr | undefined,
  window: WindowSlots,
  encoding: number,
): bigint | undefined => {
  const place = encoding < PLACES.length ? (PLACES[encoding] ?? 0) : 0;
  if (place > 0) return encoding === RFLAGS ? readRflags(window) : window.get(place);
  if (place === 0 || region === undefined) return undefined;
  return quads[slotOf(region, -place)] as bigint;
};

/** Writes a field, cut to its width; false if there is no such field. */
export const writeVmcs = (
  { quads }: MachineMemory,
  region: Maddr | undefined,
  window: WindowSlots,
  encoding: number,
  value: bigint,
): boolean => {
  const place = encoding < PLACES.length ? (PLACES[encoding] ?? 0) : 0;
  if (place === 0 || (place < 0 && region === undefined)) return false;
  const cut = value & (MASKS[(encoding >> 13) & 3] ?? 0n);
  if (encoding === RFLAGS) writeRflags(window, cut);
  else if (place > 0) window.set(place, cut);
  else if (region !== undefined) quads[slotOf(region, -place)] = cut;
  return true;
};

/** Makes an empty VMCS of a frame: the revision identifier, all fields 0. */
export const clearVmcs = (memory: MachineMemory, region: Maddr): void => {
  const at = hostAddressOf(region);
  memory.bytes.fill(0, at, at + FIELDS_OFFSET + VMCS_FIELDS.length * 8);
  memory.words[at >>> 2] = VMCS_REVISION;
};
