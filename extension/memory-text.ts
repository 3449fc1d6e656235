/**
 * Memory as a user types it.
 */

/** '89 1d 00', with or without spaces; undefined if it is something else or nothing. */
export const parseBytes = (text: string): Uint8Array | undefined => {
  const digits = text.replaceAll(/\s+/g, '');
  if (digits === '' || !/^(?:[0-9a-f]{2})+$/i.test(digits)) return undefined;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
};

const WATCHED_BYTES = 8n;

/** The event that is a write to the memory of a reference: 'watch:d1:gpa:0x1000-0x1007:write'. */
export const watchNameOf = (reference: string): string => {
  const [, linear, owner, digits = '0x0'] =
    /^(?:d(\d+)\.v\d+:|gpa:d(\d+):|maddr:)(0x[0-9a-f]+)$/i.exec(reference) ?? [];
  const domain = linear ?? owner;
  const space = linear !== undefined ? 'gva' : owner !== undefined ? 'gpa' : 'maddr';
  const first = BigInt(digits);
  const range = `0x${first.toString(16)}-0x${(first + WATCHED_BYTES - 1n).toString(16)}`;
  return `watch:${domain === undefined ? '' : `d${domain}:`}${space}:${range}:write`;
};
