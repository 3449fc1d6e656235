/**
 * The shadow page tables of a domain: their frames, their events, their place in snapshots.
 * Source of the default size: Xen docs/man/xl.cfg.5, "shadow_memory".
 */
import { type DomainConfig, MachineConfigError } from '../../machine.ts';
import { type Mfn, maddrOf } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import type { ShadowedRegisters } from '../domain.ts';
import { OWNER_HYPERVISOR } from '../frames.ts';
import { shadowedPagingOf } from '../guest-control.ts';
import type { Hypervisor, SavedValue } from '../hypervisor.ts';
import type { P2m } from '../p2m.ts';
import { emitOf } from '../p2m-changes.ts';
import { createShadowPaging, type SavedShadow, type ShadowPaging } from './shadow-paging.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const BYTES_OF_VCPU = MIB;
const BYTES_OF_MIB = 8192;
/** One instruction may need the tables of several addresses at once. */
const LEAST_PAGES = 32;

/** Frames for shadow pages, and one for the top of each vCPU. */
const shadowFramesOf = (config: DomainConfig): { pages: number; tops: number } => {
  const vcpus = config.vcpus ?? 1;
  const maximum = config.maximumMemoryBytes ?? config.memoryBytes;
  const bytes = config.shadowMemoryBytes ?? vcpus * BYTES_OF_VCPU + (maximum / MIB) * BYTES_OF_MIB;
  return { pages: Math.max(LEAST_PAGES, Math.ceil(bytes / PAGE)), tops: vcpus };
};

/** What a domain needs in the machine for its shadow page tables. */
export const shadowBytesOf = (config: DomainConfig): number => {
  if (config.hap !== false) return 0;
  const { pages, tops } = shadowFramesOf(config);
  return (pages + tops) * PAGE;
};

export const createShadowedRegisters = (): ShadowedRegisters => ({
  cr3: 0n,
  efer: 0n,
  pointers: [0n, 0n, 0n, 0n],
});

interface SavedDomainShadow {
  readonly shadow: SavedShadow;
  readonly vcpus: readonly {
    readonly cr3: string;
    readonly efer: string;
    readonly pointers: readonly string[];
  }[];
}

/** Takes the frames; throws MachineConfigError if there are not enough. */
export const createDomainShadow = (
  hypervisor: Hypervisor,
  id: number,
  config: DomainConfig,
  p2m: P2m,
): ShadowPaging => {
  const { hardware, events, domains } = hypervisor;
  const { pages, tops } = shadowFramesOf(config);
  const shadow = createShadowPaging({
    memory: hardware.memory,
    p2m,
    pool: zeroedFrames(hypervisor, config, pages),
    tops: zeroedFrames(hypervisor, config, tops),
    noteWrite: (maddr, lengthBytes) => hardware.noteWrite(maddr, lengthBytes),
    wantsUpdates: () => events.wants('shadow-update'),
    tellUpdate(update) {
      const domain = domains.get(id);
      if (domain !== undefined) emitOf(hypervisor, domain, { kind: 'shadow-update', ...update });
    },
  });
  p2m.observer = (gfn, count) => shadow.framesChanged(gfn, count);
  hypervisor.parts.set(`shadow page tables of domain ${id}`, {
    save: () => {
      const registers = (domains.get(id)?.vcpus ?? []).flatMap(({ guest }) => guest ?? []);
      const saved: SavedDomainShadow = {
        shadow: shadow.save(),
        vcpus: registers.map(({ cr3, efer, pointers }) => ({
          cr3: `${cr3}`,
          efer: `${efer}`,
          pointers: pointers.map((pointer) => `${pointer}`),
        })),
      };
      return saved as unknown as SavedValue;
    },
    restore(value) {
      const saved = value as unknown as SavedDomainShadow;
      const vcpus = domains.get(id)?.vcpus ?? [];
      for (const [index, { guest }] of vcpus.entries()) {
        const own = saved.vcpus[index];
        if (guest === undefined || own === undefined) continue;
        guest.cr3 = BigInt(own.cr3);
        guest.efer = BigInt(own.efer);
        guest.pointers = own.pointers.map(BigInt);
      }
      shadow.restore(
        saved.shadow,
        vcpus.map((vcpu) => shadowedPagingOf(hypervisor, vcpu)),
      );
    },
  });
  return shadow;
};

const zeroedFrames = (
  { hardware, frames }: Hypervisor,
  { name }: DomainConfig,
  count: number,
): Mfn[] =>
  Array.from({ length: count }, () => {
    const mfn = frames.allocate(OWNER_HYPERVISOR);
    if (mfn === undefined) {
      throw new MachineConfigError(
        `The machine has not enough memory for ${count} shadow pages of domain "${name}".`,
      );
    }
    const at = hostAddressOf(maddrOf(mfn));
    hardware.memory.bytes.fill(0, at, at + PAGE);
    return mfn;
  });
