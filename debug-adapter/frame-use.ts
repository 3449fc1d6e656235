/**
 * What a machine frame of a PV guest is used as, in words.
 */
import type { FrameUse } from '../emulator/index.ts';
import { hex } from './numbers.ts';

/** "mfn 0x12, gfn 0x3, l1_page_table". */
export const useText = ({ mfn, gfn, type }: FrameUse): string =>
  `mfn ${hex(mfn)}, ${gfn === undefined ? 'no gfn' : `gfn ${hex(gfn)}`}, ${type}`;

/** "1 use as that type, 2 references, pinned". */
export const countsText = ({ uses, references, isPinned }: FrameUse): string =>
  `${uses} ${uses === 1 ? 'use' : 'uses'} as that type, ${references} ${references === 1 ? 'reference' : 'references'}${isPinned ? ', pinned' : ''}`;
