/**
 * Standard input as the keyboard of a domain's console. A terminal is set to pass every key on once
 * the domain reads its console; Ctrl+] ends the run then, as it ends xl console.
 */
import type { Readable } from 'node:stream';

export interface TypedInput {
  /** Whether nothing more can come. */
  readonly hasEnded: boolean;
  /** Whether the person has left the console. */
  readonly isLeft: boolean;
  /** What has come since the last call. */
  take(): string;
  /** Until something comes, or the end. */
  wait(): Promise<void>;
  /** The domain reads its console. */
  begin(): void;
  close(): void;
}

const CTRL_BRACKET = '\x1d';

/** A terminal, or any other stream of bytes. */
type Keyboard = Readable & { readonly isTTY?: boolean; setRawMode?(on: boolean): unknown };

export const typedInput = (stream: Keyboard): TypedInput => {
  const decoder = new TextDecoder();
  let typed = '';
  let hasEnded = false;
  let isRaw = false;
  let isLeft = false;
  let wake: (() => void) | undefined;
  const come = (): void => {
    wake?.();
    wake = undefined;
  };
  const take = (chunk: Uint8Array): void => {
    const text = decoder.decode(chunk, { stream: true });
    const end = isRaw ? text.indexOf(CTRL_BRACKET) : -1;
    typed += end < 0 ? text : text.slice(0, end);
    if (end >= 0) {
      hasEnded = true;
      isLeft = true;
    }
    come();
  };
  const finish = (): void => {
    hasEnded = true;
    come();
  };
  stream.on('data', take).on('end', finish).on('error', finish);
  return {
    get hasEnded() {
      return hasEnded && typed === '';
    },
    get isLeft() {
      return isLeft;
    },
    take() {
      const text = typed;
      typed = '';
      return text;
    },
    wait: () =>
      hasEnded || typed !== ''
        ? Promise.resolve()
        : new Promise((resolve) => {
            wake = resolve;
          }),
    begin() {
      if (isRaw || stream.isTTY !== true) return;
      isRaw = true;
      stream.setRawMode?.(true);
    },
    close() {
      if (isRaw) stream.setRawMode?.(false);
      stream.off('data', take).off('end', finish).off('error', finish).pause();
    },
  };
};
