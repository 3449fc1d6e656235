/**
 * A hypervisor without domains.
 */
import type { EventStream } from '../events.ts';
import { createFrames } from './frames.ts';
import type { Hardware } from './hardware.ts';
import type { Hypervisor } from './hypervisor.ts';
import { createEmptiedFrames } from './memory/emptied-frames.ts';
import { createStandIns } from './stand-ins.ts';

export const createHypervisor = (
  hardware: Hardware,
  events: EventStream,
  console: Hypervisor['console'] = () => {},
): Hypervisor => {
  const { memory } = hardware;
  const frames = createFrames(memory.ramBytes);
  const emptied = createEmptiedFrames(frames);
  return {
    hardware,
    parts: new Map([['emptied frames', emptied]]),
    emptied,
    events,
    frames,
    standIns: createStandIns(memory, frames),
    domains: new Map(),
    console,
    stopRequest: undefined,
    nowNs: 0,
    yieldRequested: false,
    exitIsDue: false,
  };
};
