/** Writes into the sections what could be known only when every section had its address. */
import type { Pass } from '../passes.ts';
import type { Section } from '../sections.ts';

/** Applies a section's fixups to its contents; values that do not fit are reported. */
export function applyFixups(pass: Pass, section: Section): void {
  const contents = section.contents();
  for (const fixup of section.fixups) {
    const { offset, bytes, number, segment, relativeTo, signed, tokens } = fixup;
    let value = number + (segment?.address ?? 0n);
    if (relativeTo !== undefined) value -= section.address + BigInt(relativeTo);
    value = BigInt.asIntN(64, value);
    const bits = BigInt(bytes * 8);
    if (bits < 64n) {
      const low = -(1n << (bits - 1n));
      const high = relativeTo !== undefined || signed ? 1n << (bits - 1n) : 1n << bits;
      if (value < low || value >= high) {
        const hex = `0x${BigInt.asUintN(64, value).toString(16)}`;
        if (relativeTo !== undefined) {
          const what =
            bytes === 1
              ? 'A short jump reaches 127 bytes'
              : `A distance of ${bytes} bytes was expected`;
          pass.problem(`The target is ${value} bytes away. ${what}.`, tokens);
        } else {
          const severity = bytes < 4 && pass.program.format === 'bin' ? 'warning' : 'error';
          pass.problem(`The address ${hex} does not fit ${bytes * 8} bits.`, tokens, severity);
        }
      }
    }
    for (let i = 0; i < bytes && i < 8; i++) {
      contents[offset + i] = Number(BigInt.asUintN(8, value >> BigInt(8 * i)));
    }
  }
}
