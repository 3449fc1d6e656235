/**
 * A checksum of 32 bits by the steps of FNV-1a, word by word in two lanes. Each step is a bijection,
 * so that one changed word is never lost.
 */
const PRIME = 0x0100_0193;

/** `bytes` is a multiple of 8 bytes long. */
export const checksumOf = (bytes: Uint8Array): number => {
  const words =
    bytes.byteOffset % 4 === 0
      ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
      : new Int32Array(bytes.slice().buffer);
  let even = 0x811c_9dc5 | 0;
  let odd = 0x9747_b28c | 0;
  for (let at = 0; at < words.length; at += 2) {
    even = Math.imul(even ^ (words[at] ?? 0), PRIME);
    odd = Math.imul(odd ^ (words[at + 1] ?? 0), PRIME);
  }
  return (Math.imul(even, PRIME) ^ odd) >>> 0;
};
