/** How numbers are written for people. */

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** A register's value at its full width. */
export const wide = (value: bigint, widthBits = 64): string =>
  `0x${BigInt.asUintN(widthBits, value)
    .toString(16)
    .padStart(widthBits / 4, '0')}`;

/** 12,345 */
export const grouped = (value: number): string =>
  value.toString().replaceAll(/\B(?=(\d{3})+$)/g, ',');

/** 64 MiB, 4 KiB, 12 bytes. */
export const sizeText = (bytes: number): string => {
  const units = ['GiB', 'MiB', 'KiB'] as const;
  for (const [index, unit] of units.entries()) {
    const size = 2 ** (30 - index * 10);
    if (bytes >= size) {
      const count = bytes / size;
      return `${Number.isInteger(count) ? count : count.toFixed(1)} ${unit}`;
    }
  }
  return `${bytes} bytes`;
};
