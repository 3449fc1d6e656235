/**
 * A whole machine as bytes: a header in JSON with the hypervisor's state, then the pages of RAM that
 * are not zero. It is taken back by a machine of the same configuration.
 */

import { RAM } from './cpu/state.ts';
import type { Channel, XenDomain, XenVcpu } from './hypervisor/domain.ts';
import type { HeldFrame } from './hypervisor/frames.ts';
import type { Hypervisor, SavedValue } from './hypervisor/hypervisor.ts';
import type { Scheduler } from './hypervisor/schedulers/scheduler.ts';
import type { Turns } from './hypervisor/turns.ts';

export interface RunState {
  readonly turns: Turns;
  readonly scheduler: Scheduler;
  readonly mustEnter: boolean;
}

const MAGIC = 'HSNAP006';
/** After the magic and the header's length. */
const CHECKSUM_OFFSET = 12;
const PAGE = 4096;
const VCPU_KEYS = [
  'state',
  'clockNs',
  'retired',
  'exits',
  'timerNs',
  'upcallVector',
  'infoMaddr',
  'pcpu',
] as const;
const DOMAIN_KEYS = [
  'sharedInfoGfn',
  'callbackVector',
  'state',
  'shutdownReason',
  'explanation',
  'pages',
  'maximumPages',
  'targetPages',
  'tableUpdates',
  'consoleText',
] as const;

const pick = (from: object, keys: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(keys.map((key) => [key, Reflect.get(from, key)]));

/** Absent members are undefined: JSON leaves those out. */
const put = (into: object, keys: readonly string[], values: Record<string, unknown>): void => {
  for (const key of keys) Reflect.set(into, key, values[key]);
};

interface SavedDomain {
  readonly own: Record<string, unknown>;
  readonly params: readonly (readonly [number, string])[];
  readonly channels: readonly (readonly [number, Channel])[];
  readonly exitCounts: readonly (readonly [string, number])[];
  readonly hypercallCounts: readonly (readonly [string, number])[];
  readonly labels: readonly (readonly [number, string])[];
  readonly vcpus: readonly { readonly own: Record<string, unknown>; readonly window: number[] }[];
}

interface Header {
  readonly ramBytes: number;
  readonly nowNs: number;
  readonly yieldRequested: boolean;
  readonly owners: readonly (readonly [number, number])[];
  /** Frames in use by their machine address, and how often. */
  readonly held: readonly HeldFrame[];
  readonly active: number;
  readonly pcpus: readonly {
    readonly own: Record<string, unknown>;
    readonly current: VcpuName | undefined;
    readonly last: VcpuName | undefined;
  }[];
  readonly scheduler: Readonly<Record<string, number>>;
  readonly parts: Readonly<Record<string, SavedValue>>;
  readonly domains: readonly SavedDomain[];
  readonly pages: readonly number[];
}

type VcpuName = readonly [domain: number, vcpu: number];
const PCPU_KEYS = ['clockNs', 'turnNs', 'usedNs'] as const;
const nameOf = (vcpu: XenVcpu | undefined): VcpuName | undefined =>
  vcpu && [vcpu.domain.id, vcpu.id];

export const saveMachine = (hypervisor: Hypervisor, { turns, scheduler }: RunState): Uint8Array => {
  const { hardware, frames } = hypervisor;
  const { bytes, words, ramBytes } = hardware.memory;
  const pages: number[] = [];
  for (let page = 0; page < ramBytes / PAGE; page += 1) {
    const start = (RAM + page * PAGE) >>> 2;
    if (words.subarray(start, start + 1024).some((word) => word !== 0)) pages.push(page);
  }
  const header: Header = {
    ramBytes,
    nowNs: hypervisor.nowNs,
    yieldRequested: hypervisor.yieldRequested,
    owners: runLengths(frames.owners),
    held: frames.held(),
    active: turns.active,
    pcpus: turns.pcpus.map((pcpu) => ({
      own: pick(pcpu, PCPU_KEYS),
      current: nameOf(pcpu.current),
      last: nameOf(pcpu.last),
    })),
    scheduler: scheduler.save(),
    parts: Object.fromEntries([...hypervisor.parts].map(([name, part]) => [name, part.save()])),
    domains: [...hypervisor.domains.values()].map((domain) => saveDomain(hypervisor, domain)),
    pages,
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const snapshot = new Uint8Array(16 + text.length + pages.length * PAGE);
  snapshot.set(new TextEncoder().encode(MAGIC));
  new DataView(snapshot.buffer).setUint32(8, text.length, true);
  snapshot.set(text, 16);
  pages.forEach((page, index) => {
    const from = RAM + page * PAGE;
    snapshot.set(bytes.subarray(from, from + PAGE), 16 + text.length + index * PAGE);
  });
  new DataView(snapshot.buffer).setUint32(CHECKSUM_OFFSET, checksumOf(snapshot), true);
  return snapshot;
};

/** FNV-1a over all but the checksum itself: each step is a bijection, so that no changed byte is lost. */
const checksumOf = (snapshot: Uint8Array): number => {
  let sum = 0x811c_9dc5;
  for (let at = 0; at < snapshot.length; at += 1) {
    const isOwn = at >= CHECKSUM_OFFSET && at < CHECKSUM_OFFSET + 4;
    sum = Math.imul(sum ^ (isOwn ? 0 : (snapshot[at] ?? 0)), 0x0100_0193);
  }
  return sum >>> 0;
};

const saveDomain = ({ hardware }: Hypervisor, domain: XenDomain): SavedDomain => ({
  own: pick(domain, DOMAIN_KEYS),
  params: [...domain.params].map(([index, value]) => [index, `${value}`]),
  channels: [...domain.channels],
  exitCounts: [...domain.exitCounts],
  hypercallCounts: [...domain.hypercallCounts],
  labels: [...domain.labels],
  vcpus: domain.vcpus.map((vcpu) => ({
    own: pick(vcpu, VCPU_KEYS),
    window: [...hardware.saveWindow(vcpu)],
  })),
});

/** Throws RangeError if the snapshot is damaged or of another configuration. */
export const restoreMachine = (
  hypervisor: Hypervisor,
  { turns, scheduler }: RunState,
  snapshot: Uint8Array,
): void => {
  const { hardware, frames, domains } = hypervisor;
  const { memory } = hardware;
  const header = readHeader(snapshot);
  const all = [...domains.values()];
  const fits =
    header.ramBytes === memory.ramBytes &&
    header.domains.length === all.length &&
    header.pcpus.length === turns.pcpus.length &&
    [...hypervisor.parts.keys()].every((name) => name in header.parts) &&
    header.domains.every(({ vcpus }, index) => vcpus.length === all[index]?.vcpus.length);
  const start = snapshot.length - header.pages.length * PAGE;
  if (!fits) throw new RangeError('The snapshot is of a machine of another configuration.');
  memory.bytes.fill(0, RAM, RAM + memory.ramBytes);
  header.pages.forEach((page, index) => {
    const from = start + index * PAGE;
    memory.bytes.set(snapshot.subarray(from, from + PAGE), RAM + page * PAGE);
  });
  hardware.noteWrite(0, memory.ramBytes);
  const owners: number[] = header.owners.flatMap(([owner, count]) => Array(count).fill(owner));
  frames.restore(Uint16Array.from(owners), header.held);
  for (const { p2m } of all) p2m.noteFrames();
  header.domains.forEach((saved, index) => {
    const domain = all[index];
    if (domain !== undefined) restoreDomain(hypervisor, domain, saved);
  });
  const find = (name: VcpuName | undefined): XenVcpu | undefined =>
    name && domains.get(name[0])?.vcpus[name[1]];
  header.pcpus.forEach(({ own, current, last }, index) => {
    const pcpu = turns.pcpus[index];
    if (pcpu === undefined) return;
    put(pcpu, PCPU_KEYS, own);
    pcpu.current = find(current);
    pcpu.last = find(last);
  });
  turns.active = header.active;
  scheduler.restore(header.scheduler);
  for (const [name, part] of hypervisor.parts) part.restore(header.parts[name] ?? null);
  hypervisor.nowNs = header.nowNs;
  hypervisor.yieldRequested = header.yieldRequested;
  hypervisor.exitIsDue = false;
  hypervisor.stopRequest = undefined;
  hardware.invalidateTranslations();
};

const restoreDomain = ({ hardware }: Hypervisor, domain: XenDomain, saved: SavedDomain): void => {
  put(domain, DOMAIN_KEYS, saved.own);
  refill(
    domain.params,
    saved.params.map(([index, value]) => [index, BigInt(value)]),
  );
  refill(domain.channels, saved.channels);
  refill(domain.exitCounts, saved.exitCounts);
  refill(domain.hypercallCounts, saved.hypercallCounts);
  refill(domain.labels, saved.labels);
  saved.vcpus.forEach(({ own, window }, index) => {
    const vcpu = domain.vcpus[index];
    if (vcpu === undefined) return;
    put(vcpu, VCPU_KEYS, own);
    hardware.restoreWindow(vcpu, Uint8Array.from(window));
  });
};

const refill = <K, V>(map: Map<K, V>, entries: readonly (readonly [K, V])[]): void => {
  map.clear();
  for (const [key, value] of entries) map.set(key, value);
};

const runLengths = (owners: Uint16Array): [number, number][] => {
  const runs: [number, number][] = [];
  for (const owner of owners) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] === owner) last[1] += 1;
    else runs.push([owner, 1]);
  }
  return runs;
};

const readHeader = (snapshot: Uint8Array): Header => {
  const magic = new TextDecoder().decode(snapshot.subarray(0, 8));
  if (snapshot.length < 16 || magic !== MAGIC) {
    throw new RangeError(`This is no snapshot of a machine: it does not start with ${MAGIC}.`);
  }
  const sum = new DataView(snapshot.buffer, snapshot.byteOffset).getUint32(CHECKSUM_OFFSET, true);
  if (sum !== checksumOf(snapshot)) {
    throw new RangeError('The snapshot is damaged or cut short: its checksum does not fit.');
  }
  const length = new DataView(snapshot.buffer, snapshot.byteOffset).getUint32(8, true);
  try {
    const header = JSON.parse(
      new TextDecoder().decode(snapshot.subarray(16, 16 + length)),
    ) as Header;
    if (snapshot.length !== 16 + length + header.pages.length * PAGE) {
      throw new RangeError('The snapshot is cut short.');
    }
    return header;
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new RangeError('The header of the snapshot is damaged.');
    throw error;
  }
};
