/**
 * What the second stage has translated, for each kind of access: guest-physical pages to machine
 * pages, in the machine's memory, where generated code looks, too.
 */
import { type Cpu, isStandIn } from '../../cpu/cpu.ts';
import type { PagingAccess } from '../../cpu/paging.ts';
import * as state from '../../cpu/state.ts';
import type { Maddr } from '../../memory/addresses.ts';
import { hostAddressOf } from '../../memory/machine-memory.ts';
import { STAGE_GENERATION_SHIFT, STAGE_KIND, STAGE_KINDS } from './translation-tables.ts';

const TWO_32 = 2 ** 32;
const LAST_GENERATION = 0x3ff;
const ENTRY_WORDS = 4;

export interface StageCache {
  /** As SecondStage.translate, which is asked for what is not known. */
  translate(
    gpa: number,
    access: PagingAccess,
    linear: number | undefined,
    forTable: boolean,
  ): Maddr | undefined;
  /** The machine address, if it is known. */
  known(gpa: number, kind: number): Maddr | undefined;
  /** A guest-physical frame leads elsewhere. */
  forgetFrame(gfn: number): void;
  forgetAll(): void;
  /** Generated code is to know the generation: the processor's state may have been replaced. */
  tellGeneration(): void;
}

export const createStageCache = (cpu: Cpu): StageCache => {
  const { words, ramBytes } = cpu.memory;
  let generation = 1;
  const contextOf = (kind: number): number => kind | (generation << STAGE_GENERATION_SHIFT);
  /** Index of the entry that a page has, if it has one. */
  const entryOf = (low: number, kind: number): number =>
    (state.STAGE >>> 2) + (((low >>> 10) & (state.STAGE_ENTRIES - 4)) | kind) * ENTRY_WORDS;
  const known: StageCache['known'] = (gpa, kind) => {
    const low = gpa | 0;
    const entry = entryOf(low, kind);
    const isKnown =
      words[entry] === ((low & -4096) | contextOf(kind)) &&
      words[entry + 1] === (Math.floor(gpa / TWO_32) | 0);
    return isKnown
      ? ((((words[entry + 2] ?? 0) >>> 0) - state.RAM + (low & 0xfff)) as Maddr)
      : undefined;
  };
  const tellGeneration = (): void => {
    words[state.STAGE_CONTEXT >>> 2] = contextOf(0);
  };
  return {
    known,
    tellGeneration,
    translate(gpa, access, linear, forTable) {
      // Reads of paging entries are writes for EPT, if it has accessed and dirty flags.
      const kind = access.execute
        ? STAGE_KIND.execute
        : access.write
          ? STAGE_KIND.write
          : forTable
            ? STAGE_KIND.table
            : STAGE_KIND.read;
      const found = known(gpa, kind);
      if (found !== undefined) return found;
      const maddr = cpu.stage.translate(gpa, access, linear, forTable);
      if (maddr === undefined || maddr >= ramBytes || isStandIn(cpu, maddr)) return maddr;
      const low = gpa | 0;
      const entry = entryOf(low, kind);
      words[entry] = (low & -4096) | contextOf(kind);
      words[entry + 1] = Math.floor(gpa / TWO_32) | 0;
      words[entry + 2] = hostAddressOf((maddr - (maddr & 0xfff)) as Maddr);
      return maddr;
    },
    forgetFrame(gfn) {
      const gpa = gfn * 4096;
      for (let kind = 0; kind < STAGE_KINDS; kind += 1) {
        if (known(gpa, kind) !== undefined) words[entryOf(gpa | 0, kind)] = 0;
      }
    },
    forgetAll() {
      generation += 1;
      if (generation > LAST_GENERATION) {
        const first = state.STAGE >>> 2;
        words.fill(0, first, first + state.STAGE_ENTRIES * ENTRY_WORDS);
        generation = 1;
      }
      tellGeneration();
    },
  };
};
