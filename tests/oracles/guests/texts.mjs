/**
 * What the guests of this folder print. NAME.txt is the text of real Xen, recorded; lines that have
 * to differ here are in NAME.differences.json, by what is before their colon, with the reason.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const guestNames = (folder) =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.asm'))
    .map((file) => file.slice(0, -'.asm'.length));

/** The text of real Xen, and the one that is expected here. */
export const textsOf = (folder, name) => {
  const onXen = readFileSync(join(folder, `${name}.txt`), 'utf8');
  const file = join(folder, `${name}.differences.json`);
  const differences = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const here = onXen.replaceAll(/^(.*): .*$/gm, (line, label) => {
    const difference = differences[label];
    return difference === undefined ? line : `${label}: ${difference.here}`;
  });
  return { onXen, here };
};
