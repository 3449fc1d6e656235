/**
 * The types of guest frames in words.
 */
import type { P2mType } from '../emulator/index.ts';

export const P2M_WORDS: Readonly<Record<P2mType, string>> = {
  hole: 'nothing is there',
  ram: "the domain's own memory",
  ballooned: 'given back by the balloon; an access finds nothing',
  mmio: 'registers of a device',
  special: 'a page of the hypervisor, shared with the domain',
  shared: 'one frame for pages of equal content, read-only; a write gets a frame of its own',
  paged: 'swapped out; an access brings it back',
  logdirty: 'read-only until its first write has been noted',
  grant: 'a frame of another domain, mapped by its grant',
  'on-demand': 'reads as zeros; an access gets it its first frame',
};
