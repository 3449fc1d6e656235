/**
 * The interpreter: runs blocks of decoded code by generated handlers, and stops before each
 * instruction that only the precise engine executes. Instruction counts are exact.
 */
import { type Cpu, word } from '../../cpu/cpu.ts';
import { LEAVE_REASONS } from '../../cpu/processor.ts';
import * as state from '../../cpu/state.ts';
import { PAGE_HAS_CODE_TABLE, PAGE_HAS_TABLE, pageFlagSlot } from '../../memory/machine-memory.ts';
import type { OperationPlan } from '../operation-plan.ts';
import { createBlocks } from './blocks.ts';
import { createHandlers, type Handlers } from './handlers.ts';
import { HEADER, HEADER_BYTES, RECORD } from './record.ts';
import { repeatedOf, repeatInPages } from './repeat.ts';
import { createTranslations } from './translations.ts';

/** What comes next. */
export const LEFT = {
  /** No block: a breakpoint, or code that can not be fetched the usual way. */
  nowhere: 0,
  /** An instruction for the precise engine. */
  precise: 1,
  /** An operation whose arguments are known: `plan`. */
  operation: 2,
  cpuid: 3,
  /** The instruction at RIP faults; the fault is pending. */
  fault: 4,
  /** The instruction at RIP has made a VM exit. */
  exit: 5,
} as const;
export type Left = (typeof LEFT)[keyof typeof LEFT];

export interface FastEngine {
  /**
   * Runs, in 64-bit mode or of 32-bit code with flat segments, at most `limit` instructions and
   * deliveries of page faults, and gives the number of instructions. If there are fewer, the instruction
   * at RIP needs the precise engine, or a breakpoint is there. Only if `isFree` are page faults
   * delivered, and what changes RFLAGS.IF done.
   */
  run(limit: number, isFree: boolean): number;
  /** Page faults that the last run delivered. */
  readonly deliveries: number;
  /** The processor is about to run: whoever looks at what it does has said so. */
  begin(): void;
  /** What the last run ended at, if it has not reached its limit. */
  readonly left: Left;
  /** The operation that it ended at. */
  readonly plan: OperationPlan | undefined;
  /**
   * If a repeated string instruction is at RIP, does elements of it, but not the last; whether it
   * has done any.
   */
  repeat(): boolean;
  isAtBreakpoint(): boolean;
  /** The precise engine has executed something: registers may decide otherwise now. */
  refresh(): void;
  /** See Cpu.remembered. */
  readonly remembered: NonNullable<Cpu['remembered']>;
  /** Translations are stale: another vCPU is loaded, or the processor's state was changed. */
  forget(): void;
  /** The P2M led this gfn to this machine frame, and does so no more. */
  forgetFrame(gfn: number, mfn: number): void;
  noteWrite(host: number, lengthBytes: number): void;
  setBreakpoints(addresses: ReadonlySet<bigint>): void;
}

/** Engines replace code by better code only between calls. */
const INSTRUCTIONS_AT_ONCE = 200_000;
/** The last page offset at which a repeated string instruction is looked for. */
const LAST_REPEAT = 4096 - 3;
/** A write of more bytes is not looked at page by page. */
const LARGE_WRITE = 1 << 20;
const PAGE = 4096;
const RF = 0x1_0000;

const RIP_LOW = state.RIP >>> 2;
const PAGE_LOW = state.RIP_PAGE >>> 2;

/** Whether no branch from here reaches the end of the canonical range; others are precise. */
const isUsual = (high: number): boolean => high < 0x7fff && high > -0x7fff;

export const createInterpreter = (cpu: Cpu): FastEngine => {
  const { memory } = cpu;
  const { words, quads, bytes, view } = memory;
  const blocks = createBlocks(cpu, () => translations.forgetData());
  const translations = createTranslations(cpu, blocks.hasCode);
  const handlersOf = createHandlers(memory, translations.fill);
  let left: Left = LEFT.nowhere;
  let plan: OperationPlan | undefined;
  /** What generated code may do without leaving, if nobody needs to look. */
  let mayGoOn = 0;
  let breakpoints: ReadonlySet<bigint> = new Set();
  let cuts: ReadonlySet<number> = new Set();

  /** The block at RIP, which may then be found by generated code; 0 if there is none. */
  const enter = (link: number, handlers: Handlers): number => {
    const low = words[RIP_LOW] ?? 0;
    const high = words[RIP_LOW + 1] ?? 0;
    if (!isUsual(high)) return 0;
    if (cpu.watches?.isPending === true) return 0;
    const offset = low & 0xfff;
    const entry = (state.BLOCK_HASH >>> 2) + (low & (state.BLOCK_HASH_ENTRIES - 1)) * 4;
    const tag = (high & 0xffff) | (words[(state.CODE_CONTEXT >>> 2) + 1] ?? 0);
    if (link === 0 && words[entry] === low && words[entry + 1] === tag) {
      words[PAGE_LOW] = low - offset;
      words[PAGE_LOW + 1] = high;
      return words[entry + 2] ?? 0;
    }
    const page = translations.codePage(low, high);
    if (page === 0) return 0;
    const isInPage = words[PAGE_LOW] === low - offset && words[PAGE_LOW + 1] === high;
    const { generation } = blocks;
    const block = blocks.at(page, offset, handlers);
    words[PAGE_LOW] = low - offset;
    words[PAGE_LOW + 1] = high;
    if (cuts.has(offset)) return block;
    words[entry] = low;
    words[entry + 1] = (high & 0xffff) | (words[(state.CODE_CONTEXT >>> 2) + 1] ?? 0);
    words[entry + 2] = block;
    if (link !== 0 && isInPage && generation === blocks.generation) words[link >>> 2] = block;
    return block;
  };

  const standAt = (record: number): void => {
    words[RIP_LOW] = (words[PAGE_LOW] ?? 0) | view.getUint16(record + RECORD.pageOffset, true);
    words[RIP_LOW + 1] = words[PAGE_LOW + 1] ?? 0;
  };

  /** Runs some instructions of a block, fewer than it has; the number of those that were. */
  const runPart = (block: number, count: number, handlers: Handlers): number => {
    let record = block + HEADER_BYTES;
    for (let done = 0; done < count; done += 1) {
      const handler = view.getUint16(record + RECORD.handler, true);
      const next = handlers.executeOne(record, handlers.loud[handler] ?? handler);
      if (next === 0) {
        leaveAt(record);
        return done;
      }
      record = next;
    }
    standAt(record);
    return count;
  };

  /** What the record that was left at asks for. */
  const demandOf = (record: number): Left => {
    const reason = word(cpu, state.LEAVE_REASON);
    plan = undefined;
    if (reason === LEAVE_REASONS.fault) return LEFT.fault;
    if (reason === LEAVE_REASONS.exit) return LEFT.exit;
    if (reason === LEAVE_REASONS.precise) return LEFT.precise;
    plan = blocks.planOf(record);
    if (plan === undefined) return LEFT.precise;
    return plan.operation === 'cpuid' ? LEFT.cpuid : LEFT.operation;
  };
  const leaveAt = (record: number): void => {
    left = demandOf(record);
    standAt(record);
  };

  const isAtBreakpoint = (): boolean =>
    breakpoints.size > 0 && breakpoints.has(quads[state.RIP >>> 3] as bigint);

  /** Of so many instructions and deliveries, the instructions. */
  const done = (steps: number): number => steps - word(cpu, state.DELIVERIES);
  const run = (limit: number, isFree: boolean): number => {
    const handlers = handlersOf(word(cpu, state.CODE_WIDTH) === 64 ? 64 : 32);
    const { execute } = handlers;
    let rest = limit;
    let link = 0;
    left = LEFT.nowhere;
    words[state.DELIVERIES >>> 2] = 0;
    const goesOn = isFree ? mayGoOn : 0;
    while (rest > 0) {
      const block = enter(link, handlers);
      link = 0;
      if (block === 0) return done(limit - rest);
      if (rest < limit && isAtBreakpoint()) return done(limit - rest);
      const count = words[(block + HEADER.instructions) >>> 2] ?? 0;
      // An instruction that completes clears RF; one that faults saves it as set anyway.
      words[state.RFLAGS_REST >>> 2] = (words[state.RFLAGS_REST >>> 2] ?? 0) & ~RF;
      words[state.GOES_ON >>> 2] = count > rest ? 0 : goesOn;
      if (count > rest) {
        rest -= runPart(block, rest, handlers);
        return done(limit - rest);
      }
      const slice = Math.min(rest, INSTRUCTIONS_AT_ONCE);
      words[state.BUDGET >>> 2] = slice - count;
      execute(block + HEADER_BYTES);
      rest -= slice - (words[state.BUDGET >>> 2] ?? 0);
      switch (word(cpu, state.LEAVE_REASON)) {
        case LEAVE_REASONS.fault:
        case LEAVE_REASONS.exit:
        case LEAVE_REASONS.operation:
        case LEAVE_REASONS.precise: {
          const record = word(cpu, state.LAST_RECORD);
          const number = bytes[record + RECORD.number] ?? 0;
          const own = record - number * 32 - HEADER_BYTES;
          rest += (words[own >>> 2] ?? 0) - number;
          leaveAt(record);
          return done(limit - rest);
        }
        case LEAVE_REASONS.needBlock:
          link = word(cpu, state.LAST_RECORD);
          break;
        default:
          break;
      }
    }
    return done(limit - rest);
  };

  const repeat = (): boolean => {
    const low = words[RIP_LOW] ?? 0;
    const high = words[RIP_LOW + 1] ?? 0;
    const page = isUsual(high) ? translations.codePage(low, high) : 0;
    const offset = low & 0xfff;
    if (page === 0 || offset > LAST_REPEAT) return false;
    const repeated = repeatedOf(bytes, page + offset, word(cpu, state.CODE_WIDTH));
    return repeated !== undefined && repeatInPages(cpu, repeated, translations.fillWhole);
  };

  const isUnseen = (): boolean => cpu.watches?.isActive !== true;
  cpu.usual = {
    deliver: (vector, errorCode, resumes) =>
      isUnseen() && handlersOf(64).deliver(vector, errorCode, resumes ? 1 : 0) === 1,
    returnFromInterrupt: () => isUnseen() && handlersOf(64).returnFromInterrupt(0) === 1,
  };
  translations.forgetAll();
  translations.refresh();
  return {
    run,
    get deliveries() {
      return word(cpu, state.DELIVERIES);
    },
    begin() {
      const { nonRoot } = cpu;
      const mayExit = nonRoot !== undefined && nonRoot.mayExit?.('invlpg') !== false;
      words[state.INVLPG_LEAVES >>> 2] = mayExit ? 1 : 0;
      const isWatched =
        cpu.watches !== undefined && (cpu.watches.isActive || cpu.watches.isPending);
      words[state.MAY_FILL >>> 2] = isWatched ? 0 : 1;
      const passesFaults = nonRoot === undefined || nonRoot.passesPageFaults?.() === true;
      const { interruptReturn, pageFault } = state.MAY_GO_ON;
      mayGoOn = isWatched ? 0 : interruptReturn | (passesFaults ? pageFault : 0);
      translations.refresh();
    },
    get left() {
      return left;
    },
    get plan() {
      return plan;
    },
    repeat,
    isAtBreakpoint,
    refresh: translations.refresh,
    remembered: translations.remembered,
    forget: translations.forgetAll,
    forgetFrame: translations.forgetFrame,
    noteWrite(host, lengthBytes) {
      if (blocks.noteWrite(host, lengthBytes)) translations.forgetBlocks();
      if (lengthBytes > LARGE_WRITE) {
        translations.forgetAll();
        return;
      }
      for (let done = 0; done < lengthBytes; ) {
        const at = host + done;
        const room = Math.min(lengthBytes - done, PAGE - (at & (PAGE - 1)));
        const flags = bytes[pageFlagSlot(at)] ?? 0;
        if ((flags & (PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE)) !== 0) {
          translations.entriesChanged(at, room);
        }
        done += room;
      }
    },
    setBreakpoints(addresses) {
      breakpoints = addresses;
      cuts = new Set([...addresses].map((address) => Number(address & 0xfffn)));
      blocks.setCuts(cuts);
      translations.forgetData();
      translations.forgetBlocks();
    },
  };
};
