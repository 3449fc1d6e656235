/**
 * The translations that generated code and the block cache remember: the TLBs in the machine's
 * memory, a larger one behind them, and the pages that code runs from.
 *
 * They are never stale, so that no program can tell this engine from the precise one, which
 * remembers nothing. Pages whose entries a walk has used are flagged (table-uses.ts), and a write
 * to them is never on the fast path: it forgets what depends on the entry first. What the flags do
 * not see (control registers, privilege, another vCPU, the P2M) is compared or told.
 */
import { type AccessMode, type Cpu, cplOf, isStandIn, word } from '../../cpu/cpu.ts';
import {
  errorCodeOf,
  isWalkFault,
  type PagingAccess,
  type SecondStage,
  translateLinear,
} from '../../cpu/paging.ts';
import { LEAVE_REASONS } from '../../cpu/processor.ts';
import * as state from '../../cpu/state.ts';
import type { Maddr } from '../../memory/addresses.ts';
import {
  hostAddressOf,
  PAGE_HAS_CODE,
  PAGE_HAS_CODE_TABLE,
  PAGE_HAS_TABLE,
  pageFlagSlot,
} from '../../memory/machine-memory.ts';
import { createLastTables } from './last-tables.ts';
import { createStageCache } from './stage-cache.ts';
import { createTableUses, MANY } from './table-uses.ts';
import {
  ACCESS_FAULTS,
  ACCESS_WRITES,
  CONTEXT_ALIGNMENT,
  CONTEXT_GENERATION,
  CONTEXT_USER,
  RUN,
  SECOND_WRITABLE,
  SEVERAL,
} from './translation-tables.ts';

export interface Translations {
  /** The function `slow` of generated code: a host address, or 0 and LEAVE_REASON is set. */
  fill(low: number, high: number, access: number): number;
  /** As fill, for a write to all that follows in the page: 0 if the page has code or tables. */
  fillWhole(low: number, high: number, access: number): number;
  /** The host address for an access of one byte; 0 if it is to be walked for. */
  remembered(linear: number, access: PagingAccess): number;
  /** Host address of the page that code at a canonical address is in; 0 if it faults. */
  codePage(low: number, high: number): number;
  /** Compares the registers that decide about translations, and forgets what they change. */
  refresh(): void;
  /** Another vCPU, or another second stage. */
  forgetAll(): void;
  /** The second stage has led this guest-physical frame to this machine frame, and does so no more. */
  forgetFrame(gfn: number, mfn: number): void;
  /** Translations of data. */
  forgetData(): void;
  /** Paging entries in these bytes, within one page, have changed. */
  entriesChanged(host: number, lengthBytes: number): void;
  /** Decoded code has changed: blocks are not to be found by address any more. */
  forgetBlocks(): void;
}

const LAST_DATA_GENERATION = CONTEXT_GENERATION;
const LAST_CODE_GENERATION = 0x3fff;
const CODE_32 = 0x4000;
const CODE_USER = 0x8000;
const RFLAGS_AC = 1 << 18;
const ENTRY_WORDS = 4;
const CR4_SMAP = 1 << 21;
const PF = 14;
const HAS_ERROR_CODE = 1;
const TWO_32 = 2 ** 32;
const SPECIAL = PAGE_HAS_CODE | PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE;
/** What decides about a translation besides privilege. */
const CONTROL = [state.CR0, state.CR3, state.CR3 + 4, state.CR4, state.EFER];
const PAE_ENTRIES = Array.from({ length: 8 }, (_, index) => state.PDPTES + index * 4);

/** All accesses by their bits: write 1, execute 2, user 4. */
const ACCESSES: readonly PagingAccess[] = Array.from({ length: 8 }, (_, bits) => ({
  write: (bits & 1) !== 0,
  execute: (bits & 2) !== 0,
  user: (bits & 4) !== 0,
}));
const READ: PagingAccess = { write: false, execute: false, user: false };

/** Indices, in words. */
const secondEntry = (page: number): number =>
  (state.TLB_SECOND >>> 2) + (page & (state.TLB_SECOND_ENTRIES - 1)) * ENTRY_WORDS;
const leadingSlot = (frame: number): number => (state.LEADING >>> 2) + frame;
const frameOf = (host: number): number => (host - state.RAM) >>> 12;

/** `hasCode` tells whether bytes of a page with decoded code are code. */
export const createTranslations = (
  cpu: Cpu,
  hasCode: (host: number, lengthBytes: number) => boolean,
): Translations => {
  const { memory, watches } = cpu;
  const { words, bytes } = memory;
  const frames = memory.ramBytes / 4096;
  let dataGeneration = 1;
  let codeGeneration = 1;
  const codePages = new Map<number, number>();
  const compared = [...CONTROL, ...PAE_ENTRIES].map((slot) => slot >>> 2);
  const seen = new Int32Array(compared.length);
  const tables = createTableUses(memory);
  const stage = createStageCache(cpu);
  const lastTables = createLastTables(
    memory,
    stage,
    () => dataGeneration,
    () => !tables.isOfCode,
  );

  const contextOf = (user: boolean): number => {
    const alignment = (word(cpu, state.RFLAGS_REST) & RFLAGS_AC) !== 0;
    return dataGeneration | (user ? CONTEXT_USER : 0) | (alignment ? CONTEXT_ALIGNMENT : 0);
  };
  const setContexts = (): void => {
    const user = cplOf(cpu) === 3;
    words[state.TLB_CONTEXT >>> 2] = contextOf(user);
    const mode = (user ? CODE_USER : 0) | (word(cpu, state.CODE_WIDTH) === 64 ? 0 : CODE_32);
    words[(state.CODE_CONTEXT >>> 2) + 1] = (codeGeneration | mode) << 16;
    words[state.CODE_CONTEXT >>> 2] = 0;
    words[(state.TLB_CONTEXT >>> 2) + 1] = 0;
  };
  const forgetData = (): void => {
    dataGeneration += 1;
    if (dataGeneration >= LAST_DATA_GENERATION) {
      // An entry of generation 0 is never asked for.
      words.fill(0, state.TLB_READ >>> 2, state.TLB_EXECUTE >>> 2);
      words.fill(0, secondEntry(0), secondEntry(0) + state.TLB_SECOND_ENTRIES * ENTRY_WORDS);
      words.fill(0, leadingSlot(0), leadingSlot(frames));
      lastTables.clear();
      tables.forget();
      codePages.clear();
      forgetBlocks();
      dataGeneration = 1;
    }
    setContexts();
  };
  const forgetBlocks = (): void => {
    codeGeneration += 1;
    if (codeGeneration >= LAST_CODE_GENERATION) {
      const first = state.BLOCK_HASH >>> 2;
      words.fill(0, first, first + state.BLOCK_HASH_ENTRIES * 4);
      codeGeneration = 1;
    }
    setContexts();
  };
  const forget = (): void => {
    codePages.clear();
    forgetBlocks();
    forgetData();
  };
  /** Forgets one page of data, by its number, or by the second level's entry for it. */
  const forgetPage = (page: number): void => {
    const entry = (page & (state.TLB_ENTRIES - 1)) * (state.TLB_ENTRY_BYTES >>> 2);
    words[(state.TLB_READ >>> 2) + entry] = 0;
    words[(state.TLB_WRITE >>> 2) + entry] = 0;
    words[secondEntry(page)] = 0;
  };

  const forgetAll = (): void => {
    stage.forgetAll();
    forget();
  };
  /** The second level's entry of a page leads to this machine frame now, as well as what already does. */
  const noteLeading = (host: number, page: number): void => {
    const slot = leadingSlot(frameOf(host));
    const entry = (page & (state.TLB_SECOND_ENTRIES - 1)) + 1;
    const known = words[slot] ?? 0;
    if (known === 0) words[slot] = entry;
    else if (known !== RUN && known !== entry) words[slot] = SEVERAL;
  };
  const forgetFrame = (gfn: number, mfn: number): void => {
    stage.forgetFrame(gfn);
    if (mfn >= frames) return;
    const flags = bytes[pageFlagSlot(hostAddressOf((mfn * 4096) as Maddr))] ?? 0;
    const slot = leadingSlot(mfn);
    const entry = words[slot] ?? 0;
    words[slot] = 0;
    if (entry === RUN || (flags & PAGE_HAS_CODE_TABLE) !== 0) forget();
    else if (entry === SEVERAL || (flags & PAGE_HAS_TABLE) !== 0) forgetData();
    else if (entry > 0) forgetPage(entry - 1);
  };
  /** The second stage, which notes where entries of the guest's tables are. */
  const noting: SecondStage = {
    translate: (gpa, access, linear, forTable) => {
      const maddr = stage.translate(gpa, access, linear, forTable);
      if (maddr === undefined || isStandIn(cpu, maddr)) return maddr;
      if (forTable && !access.write && maddr < memory.ramBytes) {
        // Writes to a page that was none of tables were fast until now.
        if (tables.note(hostAddressOf(maddr))) forgetData();
      }
      return maddr;
    },
    beforeEntryWrite: (maddr, linear) => cpu.stage.beforeEntryWrite?.(maddr, linear),
  };
  const walk = (
    linear: number,
    write: boolean,
    execute: boolean,
    user: boolean,
    mode: AccessMode | undefined,
  ): number => {
    tables.begin(linear, execute, (word(cpu, state.EFER) & 0x400) !== 0);
    const access = ACCESSES[(write ? 1 : 0) | (execute ? 2 : 0) | (user ? 4 : 0)] ?? READ;
    cpu.accessMode = mode;
    const result = translateLinear(memory, noting, linear, access, lastTables);
    cpu.accessMode = undefined;
    return result;
  };

  const refuse = (): number => {
    words[state.LEAVE_REASON >>> 2] = LEAVE_REASONS.precise;
    return 0;
  };
  const exited = (): number => {
    words[state.LEAVE_REASON >>> 2] = LEAVE_REASONS.exit;
    return 0;
  };
  const fault = (low: number, high: number, errorCode: number): number => {
    words[state.FAULT_VECTOR >>> 2] = PF;
    words[state.FAULT_ERROR >>> 2] = errorCode;
    words[state.FAULT_FLAGS >>> 2] = HAS_ERROR_CODE;
    words[state.FAULT_ADDRESS >>> 2] = low;
    words[(state.FAULT_ADDRESS >>> 2) + 1] = high;
    words[state.LEAVE_REASON >>> 2] = LEAVE_REASONS.fault;
    return 0;
  };
  const remember = (table: number, low: number, high: number, host: number): void => {
    const entry = (table + ((low >>> 8) & ((state.TLB_ENTRIES - 1) * 16))) >>> 2;
    words[entry] = (low & ~0xfff) | (words[state.TLB_CONTEXT >>> 2] ?? 0);
    words[entry + 1] = high;
    words[entry + 2] = (host - (low & ~0xfff)) | 0;
  };
  /** Whether the precise engine is to do this, or there is something to tell already. */
  const isWatched = (low: number, high: number, host: number, writes: boolean): boolean =>
    watches !== undefined && (watches.isPending || watches.watchesPage(low, high, host, writes));

  const entriesChanged = (host: number, lengthBytes: number): void => {
    const page = tables.pageOf(host, lengthBytes);
    const isOfCode = ((bytes[pageFlagSlot(host)] ?? 0) & PAGE_HAS_CODE_TABLE) !== 0;
    if (page === MANY) {
      if (isOfCode) forget();
      else forgetData();
      return;
    }
    forgetPage(page);
    if (!isOfCode) return;
    codePages.delete(page * 2);
    codePages.delete(page * 2 + 1);
    forgetBlocks();
  };

  /** A write to a page with code or tables; false if the precise engine is to do it. */
  const mayWriteSpecial = (host: number, lengthBytes: number, flags: number): boolean => {
    if ((flags & PAGE_HAS_CODE) !== 0 && hasCode(host, lengthBytes)) return false;
    if ((flags & (PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE)) === 0) return true;
    if (tables.isEmptyEntry(host, lengthBytes)) return true;
    // What runs now may run from elsewhere after this instruction.
    if ((flags & PAGE_HAS_CODE_TABLE) !== 0) return false;
    entriesChanged(host, lengthBytes);
    return true;
  };

  /**
   * The host address of an access by code of the running level, or of the other kind (supervisor in
   * user mode); 0 if it is to be made precisely, or its fault is pending.
   */
  const translate = (low: number, high: number, access: number, user: boolean): number => {
    const writes = (access & ACCESS_WRITES) !== 0;
    const lengthBytes = access & 0xff;
    const offset = low & 0xfff;
    const top = high >> 15;
    if (offset + lengthBytes > 4096 || (top !== 0 && top !== -1)) return refuse();
    const entry = secondEntry(low >>> 12);
    const known = words[entry + 2] ?? 0;
    let host = 0;
    if (
      words[entry] === ((low & ~0xfff) | contextOf(user)) &&
      words[entry + 1] === high &&
      (!writes || (known & SECOND_WRITABLE) !== 0)
    ) {
      host = ((known & ~SECOND_WRITABLE) >>> 0) + offset;
    } else {
      const isDirect =
        (access & ACCESS_FAULTS) !== 0 &&
        ((words[state.TLB_CONTEXT >>> 2] ?? 0) & CONTEXT_ALIGNMENT) === 0;
      const mode = isDirect ? undefined : 'probe';
      const maddr = walk(high * TWO_32 + (low >>> 0), writes, false, user, mode);
      if (maddr < 0) {
        if (!isDirect) return refuse();
        return isWalkFault(maddr) ? fault(low, high, errorCodeOf(maddr)) : exited();
      }
      if (maddr >= memory.ramBytes) return refuse();
      host = hostAddressOf(maddr as Maddr);
      if (isWatched(low, high, host, writes)) return refuse();
      if (isStandIn(cpu, maddr)) return host;
      words[entry] = (low & ~0xfff) | contextOf(user);
      words[entry + 1] = high;
      words[entry + 2] = (host - offset) | (writes ? SECOND_WRITABLE : 0);
      noteLeading(host, low >>> 12);
    }
    const isRunningLevel = user === (cplOf(cpu) === 3);
    if (!writes) {
      if (isRunningLevel) remember(state.TLB_READ, low, high, host - offset);
      return host;
    }
    const flags = (bytes[pageFlagSlot(host)] ?? 0) & SPECIAL;
    if (flags === 0) {
      if (isRunningLevel) remember(state.TLB_WRITE, low, high, host - offset);
      return host;
    }
    return mayWriteSpecial(host, lengthBytes, flags) ? host : refuse();
  };

  const fill = (low: number, high: number, access: number): number => {
    // Handlers read a place that they change from where they write it; a stand-in is no such place.
    if (cpu.standIns !== undefined && (access & ACCESS_WRITES) !== 0) return refuse();
    return translate(low, high, access, cplOf(cpu) === 3);
  };

  const fillWhole = (low: number, high: number, access: number): number => {
    const host = translate(low, high, access, cplOf(cpu) === 3);
    if (host === 0 || (access & ACCESS_WRITES) === 0) return host;
    return ((bytes[pageFlagSlot(host)] ?? 0) & SPECIAL) === 0 ? host : 0;
  };

  const codePage = (low: number, high: number): number => {
    const frame = (high & 0xffff) * 2 ** 20 + (low >>> 12);
    const key = frame * 2 + (cplOf(cpu) === 3 ? 1 : 0);
    const known = codePages.get(key);
    if (known !== undefined) return known;
    const maddr = walk(high * TWO_32 + (low >>> 0), false, true, cplOf(cpu) === 3, 'probe');
    if (maddr < 0 || maddr >= memory.ramBytes) return 0;
    const page = hostAddressOf((maddr - (maddr & 0xfff)) as Maddr);
    codePages.set(key, page);
    words[leadingSlot(frameOf(page))] = RUN;
    return page;
  };

  const remembered = (linear: number, { write, execute, user, implicit }: PagingAccess): number => {
    // SMAP alone tells the processor's own accesses from others: RFLAGS.AC does not lift it.
    const isOwn = implicit === true && (word(cpu, state.RFLAGS_REST) & RFLAGS_AC) !== 0;
    if (isOwn && (word(cpu, state.CR4) & CR4_SMAP) !== 0) return 0;
    const low = linear | 0;
    const high = Math.floor(linear / TWO_32) | 0;
    if (!execute) return translate(low, high, write ? ACCESS_WRITES | 1 : 1, user);
    const top = high >> 15;
    const isUsual = (top === 0 || top === -1) && user === (cplOf(cpu) === 3);
    const page = isUsual ? codePage(low, high) : 0;
    return page === 0 ? 0 : page + (low & 0xfff);
  };

  const refresh = (): void => {
    let changed = false;
    for (let i = 0; i < compared.length; i += 1) {
      const now = words[compared[i] ?? 0] ?? 0;
      if (seen[i] !== now) {
        seen[i] = now;
        changed = true;
      }
    }
    stage.tellGeneration();
    if (changed) forget();
    else setContexts();
  };
  return {
    fill,
    fillWhole,
    remembered,
    codePage,
    refresh,
    forgetAll,
    forgetFrame,
    forgetData,
    entriesChanged,
    forgetBlocks,
  };
};
