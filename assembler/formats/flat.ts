/**
 * Flat images as by `nasm -f bin` (NASM manual, "Multisection Support for the bin Format"). A section
 * stands after the one defined before it, after the one it `follows`, or at its `start`; it runs there
 * too, or at its `vstart`, or after what it `vfollows`. Sections without contents come last.
 */
import { ExpressionError } from '../expressions.ts';
import type { Pass, Program } from '../passes.ts';
import type { Section } from '../sections.ts';
import { applyFixups } from './fixups.ts';

export interface Output {
  readonly bytes: Uint8Array;
  readonly entry: bigint | undefined;
}

const MAX_BYTES = 256 * 1024 * 1024;
const NOTHING: Output = { bytes: new Uint8Array(0), entry: undefined };

/** Places and links the sections of a flat image. */
export function writeFlat(program: Program, pass: Pass): Output {
  const all = [...program.sections.values()];
  const filled = all.filter(({ attributes }) => !attributes.nobits);
  const empty = all.filter(({ attributes }) => attributes.nobits);
  let origin: number;
  try {
    const placed = byStart(inOrder(filled));
    origin = load(placed, program.origin === undefined ? undefined : Number(program.origin));
    place(all, placed, empty);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    pass.problem(error.message, error.tokens);
    return NOTHING;
  }
  for (const section of all) applyFixups(pass, section);
  const length = Math.max(
    0,
    ...filled.map((one) => (one.size > 0 ? one.fileOffset + one.size : 0)),
  );
  if (length > MAX_BYTES) {
    pass.problem('The image would be longer than 256 MiB; check `start` of the sections.', []);
    return NOTHING;
  }
  const bytes = new Uint8Array(length);
  for (const section of filled) {
    if (section.size > 0) bytes.set(section.contents(), section.fileOffset);
  }
  return { bytes, entry: BigInt(origin) };
}

const failure = (message: string): ExpressionError => new ExpressionError(message, []);

/**
 * Moves each section that `follows` another behind that one, and with it those that were defined
 * after it and say nothing themselves.
 */
function inOrder(sections: readonly Section[]): readonly Section[] {
  let order = [...sections];
  for (const leader of sections) {
    const { follows } = leader.attributes;
    const at = order.indexOf(leader);
    if (follows === undefined || order[at - 1]?.name === follows) continue;
    let end = at + 1;
    while (order[end] !== undefined && order[end]?.name !== follows && !leads(order[end])) end++;
    const group = order.slice(at, end);
    const rest = [...order.slice(0, at), ...order.slice(end)];
    const target = rest.findIndex(({ name }) => name === follows);
    if (target < 0) {
      throw failure(`The section \`${leader.name}\` follows \`${follows}\`, which does not exist.`);
    }
    if (rest[target + 1]?.attributes.follows === follows) {
      throw failure(`Only one section can follow \`${follows}\`.`);
    }
    order = [...rest.slice(0, target + 1), ...group, ...rest.slice(target + 1)];
  }
  return order;
}

const leads = (section: Section | undefined): boolean =>
  section?.attributes.start !== undefined || section?.attributes.follows !== undefined;

/** Sorts the groups that begin with a `start`; what comes before the first stays there. */
function byStart(sections: readonly Section[]): readonly Section[] {
  const groups: Section[][] = [];
  for (const section of sections) {
    const group = groups.at(-1);
    if (group === undefined || section.attributes.start !== undefined) groups.push([section]);
    else group.push(section);
  }
  const startOf = ([first]: readonly Section[]) =>
    first?.attributes.start ?? Number.NEGATIVE_INFINITY;
  return groups.sort((a, b) => Math.sign(startOf(a) - startOf(b)) || 0).flat();
}

/** Says where sections with contents are loaded. Answers the origin of the image. */
function load(sections: readonly Section[], given: number | undefined): number {
  const [first] = sections;
  const origin = given ?? first?.attributes.start ?? 0;
  let end = origin;
  let last: Section | undefined;
  for (const section of sections) {
    const { start = alignUp(end, section.attributes.align) } = section.attributes;
    section.start.address = BigInt(start);
    section.fileOffset = start - origin;
    if (section.size === 0) continue;
    if (start < origin) throw failure(`\`${section.name}\` would start before the origin.`);
    if (start < end && last !== undefined) {
      throw failure(`The sections \`${last.name}\` and \`${section.name}\` overlap.`);
    }
    end = start + section.size;
    last = section;
  }
  return origin;
}

/** Says where sections run, each after another one unless it says it itself. */
function place(
  all: readonly Section[],
  loaded: readonly Section[],
  empty: readonly Section[],
): void {
  const ends = new Map<Section, number>();
  const settle = (section: Section, address: number) => {
    section.address = BigInt(address);
    ends.set(section, address + section.size);
  };
  let end = 0;
  for (const section of loaded) {
    const { vstart, vfollows, valign } = section.attributes;
    const start = Number(section.start.address);
    if (vstart !== undefined) settle(section, vstart);
    else if (vfollows === undefined) settle(section, alignUp(valign ? end : start, valign ?? 1));
    end = Math.max(end, start + section.size);
  }
  const waiting = [...loaded, ...empty].filter((section) => !ends.has(section));
  for (let left = waiting.length; left > 0; left--) {
    for (const section of waiting) {
      if (ends.has(section)) continue;
      const { isEmpty, at, after, align } = virtually(section, all, loaded);
      const from = at ?? (after === undefined ? undefined : ends.get(after));
      if (from === undefined) continue;
      settle(section, at ?? alignUp(from, align));
      if (isEmpty) section.start.address = section.address;
    }
  }
  const [lost] = waiting.filter((section) => !ends.has(section));
  if (lost !== undefined) throw failure(`What \`${lost.name}\` follows is not placed.`);
}

/** What a section's address comes from. Without contents, both kinds of attributes mean the same. */
function virtually(section: Section, all: readonly Section[], loaded: readonly Section[]) {
  const {
    nobits: isEmpty,
    start,
    vstart,
    follows,
    vfollows,
    align,
    isAligned,
    valign,
  } = section.attributes;
  const name = vfollows ?? (isEmpty ? follows : undefined);
  const before = section.name === '.bss' ? loaded.at(-1) : all[all.indexOf(section) - 1];
  return {
    isEmpty,
    at: vstart ?? (isEmpty ? start : undefined),
    after: name === undefined ? before : all.find((one) => one.name === name),
    align: valign ?? (isEmpty && isAligned === true ? align : 4),
  };
}

export const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;
