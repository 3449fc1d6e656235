/**
 * Frames that stand in for missing ones while the hypervisor emulates an instruction: data reads
 * as ones, what is written is lost, and a paging entry is not present, as for Xen's own walk of a
 * guest's tables (map_domain_gfn finds no page).
 */
import type { StandIns } from '../cpu/cpu.ts';
import { type Maddr, maddrOf } from '../memory/addresses.ts';
import { hostAddressOf, type MachineMemory } from '../memory/machine-memory.ts';
import { type Frames, OWNER_HYPERVISOR } from './frames.ts';

/** Takes the machine's stand-ins from its frames. */
export const createStandIns = (
  { bytes }: MachineMemory,
  frames: Frames,
): Omit<StandIns, 'covers'> => {
  const pageOf = (byte: number): Maddr => {
    const mfn = frames.allocate(OWNER_HYPERVISOR);
    if (mfn === undefined) throw new Error('The machine has no frame for a stand-in.');
    const at = hostAddressOf(maddrOf(mfn));
    bytes.fill(byte, at, at + 4096);
    return maddrOf(mfn);
  };
  return { read: pageOf(0xff), written: pageOf(0), table: pageOf(0) };
};
