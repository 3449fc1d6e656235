/**
 * Every kind of generated document, by the scheme of its URI.
 */
import type { Debuggee } from '../debuggee.ts';
import { exitUri, writeExit } from './exit-document.ts';
import { parseListingUri, writeListing } from './listing-document.ts';

interface DocumentKind {
  readonly scheme: string;
  /** The text; undefined if the URI names nothing. */
  write(debuggee: Debuggee, uri: string): string | undefined;
}

export const DOCUMENT_KINDS: readonly DocumentKind[] = [
  {
    scheme: 'hyperstep-asm',
    write(debuggee, uri) {
      const place = parseListingUri(uri);
      return place === undefined ? undefined : writeListing(debuggee, place).text;
    },
  },
  {
    scheme: 'hyperstep-exit',
    write({ machine: { exitInProgress: exit } }, uri) {
      if (exit !== undefined && exitUri(exit) === uri) return writeExit(exit).text;
      return /^hyperstep-exit:\/d\d+\.v\d+\/\d+-\w+\.vmexit$/.test(uri)
        ? 'This VM exit has been handled; the guest goes on.\n'
        : undefined;
    },
  },
];

/** The text of a generated document; undefined if there is none of this name. */
export const writeDocument = (debuggee: Debuggee, uri: string): string | undefined =>
  DOCUMENT_KINDS.find(({ scheme }) => uri.startsWith(`${scheme}:`))?.write(debuggee, uri);
