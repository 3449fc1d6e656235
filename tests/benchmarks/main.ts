/** Runs the benchmarks (all, or those named on the command line) and prints a table. */
import type { Measurement } from './benchmark.ts';
import { BENCHMARKS } from './catalog.ts';

const rateOf = ({ units, seconds }: Measurement): number => units / seconds;

const short = (rate: number): string =>
  rate >= 1e9
    ? `${(rate / 1e9).toFixed(2)} G`
    : rate >= 1e6
      ? `${(rate / 1e6).toFixed(2)} M`
      : `${(rate / 1e3).toFixed(2)} k`;

const main = async (names: readonly string[]): Promise<void> => {
  const chosen = BENCHMARKS.filter(({ name }) => names.length === 0 || names.includes(name));
  console.log('Rates per second of processor time.');
  console.log(
    `${'benchmark'.padEnd(14)}${'unit'.padEnd(14)}${'here'.padStart(10)}${'QEMU TCG'.padStart(11)}${'ratio'.padStart(9)}  required`,
  );
  let failed = 0;
  for (const { name, unit, required, here, qemu } of chosen) {
    const own = rateOf(await here());
    const measured = await qemu?.();
    const other = measured === undefined ? undefined : rateOf(measured);
    const ratio = other === undefined ? undefined : own / other;
    const isMet =
      'rate' in required ? own >= required.rate : ratio === undefined || ratio >= required.ofQemu;
    if (!isMet) failed += 1;
    const wanted = 'rate' in required ? short(required.rate) : `${required.ofQemu}x`;
    const cells = [
      name.padEnd(14),
      unit.padEnd(14),
      short(own).padStart(10),
      (other === undefined ? '-' : short(other)).padStart(11),
      (ratio === undefined ? '-' : `${ratio.toFixed(2)}x`).padStart(9),
      `  ${wanted}${isMet ? '' : '  MISSED'}`,
    ];
    console.log(cells.join(''));
    if (qemu !== undefined && measured === undefined) {
      console.log('  qemu-system-x86_64 is not installed (Debian package qemu-system-x86).');
    }
  }
  process.exitCode = failed === 0 ? 0 : 1;
};

await main(process.argv.slice(2));
