/** The listing: line number, offset, bytes and source, in the columns of `nasm -l`. */
import type { Section } from '../sections.ts';

export interface ListingItem {
  readonly line: number;
  readonly text: string;
  readonly section: Section | undefined;
  readonly offset: number;
  readonly size: number;
  /** How many macro calls deep the line stands. */
  readonly depth: number;
}

const BYTES_A_LINE = 9;
const MAX_LISTED = 64;

/** Writes the listing; long data is cut after some lines. */
export function writeListing(items: readonly ListingItem[]): string {
  const out: string[] = [];
  for (const { line, text, section, offset, size, depth } of items) {
    const number = `${line}`.padStart(6);
    const level = depth > 0 ? ` <${depth}>` : '    ';
    if (size <= 0 || section === undefined) {
      out.push(`${number} ${' '.repeat(28)}${level} ${text}`.trimEnd());
      continue;
    }
    const shown = Math.min(size, MAX_LISTED);
    const bytes = section.attributes.nobits
      ? undefined
      : section.contents().subarray(offset, offset + shown);
    for (let at = 0; at < shown; at += BYTES_A_LINE) {
      const more = at + BYTES_A_LINE < shown || (size > shown && at + BYTES_A_LINE >= shown);
      const hex =
        bytes === undefined
          ? `<res ${size.toString(16).toUpperCase()}h>`
          : hexOf(bytes.subarray(at, at + BYTES_A_LINE));
      const place = (offset + at).toString(16).toUpperCase().padStart(8, '0');
      const column = `${hex}${more && bytes !== undefined ? '-' : ''}`.padEnd(19);
      out.push(`${number} ${place} ${column}${at === 0 ? `${level} ${text}` : ''}`.trimEnd());
      if (bytes === undefined) break;
    }
  }
  return `${out.join('\n')}\n`;
}

const hexOf = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).toUpperCase().padStart(2, '0')).join('');
