/**
 * The states of machine frames: unpacked, counted over cells, compared with those before.
 */
import type { MachineFrameState, MemoryMapResponse } from '../../../debug-adapter/protocol.ts';

/** By mfn, the index of each frame's state; see `MemoryMapResponse.runs`. */
export const unpackRuns = ({ frames, runs }: MemoryMapResponse): Uint16Array => {
  const states = new Uint16Array(frames);
  const text = atob(runs);
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = text.charCodeAt(at);
      at += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (!(byte >= 0x80)) return value;
    }
  };
  for (let mfn = 0; at < text.length; ) {
    const state = next();
    const end = mfn + next();
    states.fill(state, mfn, end);
    mfn = end;
  }
  return states;
};

export interface Share {
  readonly state: number;
  readonly count: number;
}

/** Shows which states some frames in a row have: at most so many, the most frequent first. */
export const createCounter = (stateCount: number, most: number) => {
  const counts = new Uint32Array(stateCount);
  return (states: Uint16Array, first: number, end: number): Share[] => {
    const seen: number[] = [];
    for (let mfn = first; mfn < end; mfn += 1) {
      const state = states[mfn] ?? 0;
      if (counts[state] === 0) seen.push(state);
      counts[state] = (counts[state] ?? 0) + 1;
    }
    const shares = seen.map((state) => ({ state, count: counts[state] ?? 0 }));
    for (const state of seen) counts[state] = 0;
    return shares.sort((a, b) => b.count - a.count || a.state - b.state).slice(0, most);
  };
};

export interface Snapshot {
  readonly table: readonly MachineFrameState[];
  readonly states: Uint16Array;
}

const nameOf = ({ kind, domain }: MachineFrameState): string => `${kind} ${domain ?? ''}`;

/** By mfn, 1 where a frame is used otherwise than it was; undefined if that is not known. */
export const changesSince = (before: Snapshot | undefined, now: Snapshot): Uint8Array => {
  const changed = new Uint8Array(now.states.length);
  if (before === undefined || before.states.length !== now.states.length) return changed;
  const indexes = new Map(now.table.map((state, index) => [nameOf(state), index]));
  const renumbered = before.table.map((state) => indexes.get(nameOf(state)) ?? -1);
  for (let mfn = 0; mfn < changed.length; mfn += 1) {
    if (renumbered[before.states[mfn] ?? 0] !== now.states[mfn]) changed[mfn] = 1;
  }
  return changed;
};
