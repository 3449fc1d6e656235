/**
 * What the extension and the webview of machine memory tell each other.
 */
import type { MachineFrameResponse, MemoryMapResponse } from '../../../debug-adapter/protocol.ts';

export type ToWebview =
  | { readonly kind: 'map'; readonly map: MemoryMapResponse }
  | { readonly kind: 'frame'; readonly mfn: number; readonly frame: MachineFrameResponse }
  /** There is nothing to show. */
  | { readonly kind: 'nothing'; readonly reason: string };

export type FromWebview =
  /** It shows what it is sent from now on. */
  { readonly kind: 'ready' } | { readonly kind: 'frame'; readonly mfn: number };
