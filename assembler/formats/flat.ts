/**
 * Flat images as by `nasm -f bin`: `.text` at the origin, the other sections with contents after
 * it in order of appearance, each aligned; sections without contents last.
 */
import type { Pass, Program } from '../passes.ts';
import type { Section } from '../sections.ts';
import { applyFixups } from './fixups.ts';

export interface Output {
  readonly bytes: Uint8Array;
  readonly entry: bigint | undefined;
}

/** Places and links the sections of a flat image. */
export function writeFlat(program: Program, pass: Pass): Output {
  const origin = Number(program.origin ?? 0n);
  const all = [...program.sections.values()];
  const filled = ordered(all.filter(({ attributes }) => !attributes.nobits));
  const empty = ordered(all.filter(({ attributes }) => attributes.nobits));
  let position = origin;
  const ends = new Map<string, number>();
  for (const section of [...filled, ...empty]) {
    const { attributes } = section;
    if (
      section.size === 0 &&
      section.name !== '.text' &&
      attributes.start === undefined &&
      attributes.vstart === undefined
    ) {
      section.address = BigInt(position);
      continue;
    }
    const before =
      attributes.follows === undefined ? position : (ends.get(attributes.follows) ?? position);
    const start = attributes.start ?? alignUp(before, attributes.align);
    section.fileOffset = start - origin;
    section.address = BigInt(attributes.vstart ?? start);
    ends.set(section.name, start + section.size);
    position = Math.max(
      attributes.follows === undefined ? start + section.size : position,
      start + section.size,
    );
  }
  for (const section of all) applyFixups(pass, section);
  let length = 0;
  for (const { fileOffset, size } of filled) {
    if (size > 0) length = Math.max(length, fileOffset + size);
  }
  if (length > 256 * 1024 * 1024) {
    pass.problem('The image would be longer than 256 MiB; check `start` of the sections.', []);
    return { bytes: new Uint8Array(0), entry: undefined };
  }
  const bytes = new Uint8Array(length);
  for (const section of filled) {
    if (section.fileOffset >= 0 && section.size > 0)
      bytes.set(section.contents(), section.fileOffset);
    else if (section.size > 0)
      pass.problem(`\`${section.name}\` would start before the origin.`, []);
  }
  return { bytes, entry: BigInt(origin) };
}

function ordered(sections: readonly Section[]): Section[] {
  return [...sections].sort((a, b) => Number(b.name === '.text') - Number(a.name === '.text'));
}

export const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;
