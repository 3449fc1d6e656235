/**
 * The translations that generated code and the block cache remember: the TLBs in the machine's
 * memory, a larger one behind them, and the pages that code runs from.
 *
 * They are never stale, so that no program can tell this engine from the precise one, which
 * remembers nothing. Pages whose entries a walk has used are flagged. A write to them is never on
 * the fast path: it forgets all translations first. What the flags do not see (control registers,
 * privilege, another vCPU, the P2M) is compared or told.
 */
import { type Cpu, cplOf, word } from '../../cpu/cpu.ts';
import { type PagingAccess, type SecondStage, translateLinear } from '../../cpu/paging.ts';
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

export interface Translations {
  /** The function `slow` of generated code: a host address, or 0 and LEAVE_REASON is set. */
  fill(low: number, high: number, access: number): number;
  /** As fill, for a write to all that follows in the page: 0 if the page has code or tables. */
  fillWhole(low: number, high: number, access: number): number;
  /** The host address for an access of one byte; 0 if it is to be walked for. */
  remembered(linear: bigint, access: PagingAccess): number;
  /** Host address of the page that code at a canonical address is in; 0 if it faults. */
  codePage(low: number, high: number): number;
  /** Compares the registers that decide about translations, and forgets what they change. */
  refresh(): void;
  forget(): void;
  /** Tables of data have changed, those of code have not. */
  forgetData(): void;
  /** Decoded code has changed: blocks are not to be found by address any more. */
  forgetBlocks(): void;
}

const WRITES = 0x100;
const CONTEXT_USER = 0x400;
const CONTEXT_ALIGNMENT = 0x800;
const LAST_DATA_GENERATION = 0x3ff;
const LAST_CODE_GENERATION = 0x7fff;
const CODE_USER = 0x8000;
const RFLAGS_AC = 1 << 18;
const SECOND_LEVEL = 1 << 16;
const WRITABLE = 1;
const STAGE_ENTRIES = 1 << 14;
const CR4_SMAP = 1 << 21;
/** What decides about a translation besides privilege. */
const CONTROL = [state.CR0, state.CR3, state.CR3 + 4, state.CR4, state.EFER];
const PAE_ENTRIES = Array.from({ length: 8 }, (_, index) => state.PDPTES + index * 4);

const linearOf = (low: number, high: number): bigint =>
  (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

/** `hasCode` tells whether bytes of a page with decoded code are code. */
export const createTranslations = (
  cpu: Cpu,
  hasCode: (host: number, lengthBytes: number) => boolean,
): Translations => {
  const { memory } = cpu;
  const { words, bytes } = memory;
  let dataGeneration = 1;
  let codeGeneration = 1;
  const lowTags = new Int32Array(SECOND_LEVEL);
  const highTags = new Int32Array(SECOND_LEVEL);
  const hosts = new Uint32Array(SECOND_LEVEL);
  const codePages = new Map<number, number>();
  const compared = [...CONTROL, ...PAE_ENTRIES].map((slot) => slot >>> 2);
  const seen = new Int32Array(compared.length);
  let flag = PAGE_HAS_TABLE;

  const setContexts = (): void => {
    const user = cplOf(cpu) === 3;
    const alignment = (word(cpu, state.RFLAGS_REST) & RFLAGS_AC) !== 0;
    words[state.TLB_CONTEXT >>> 2] =
      dataGeneration | (user ? CONTEXT_USER : 0) | (alignment ? CONTEXT_ALIGNMENT : 0);
    words[(state.CODE_CONTEXT >>> 2) + 1] = (codeGeneration | (user ? CODE_USER : 0)) << 16;
    words[state.CODE_CONTEXT >>> 2] = 0;
    words[(state.TLB_CONTEXT >>> 2) + 1] = 0;
  };
  const forgetData = (): void => {
    dataGeneration += 1;
    if (dataGeneration >= LAST_DATA_GENERATION) {
      // An entry of generation 0 is never asked for.
      words.fill(0, state.TLB_READ >>> 2, state.TLB_EXECUTE >>> 2);
      lowTags.fill(0);
      unflagTables();
      codePages.clear();
      forgetBlocks();
      dataGeneration = 1;
    }
    setContexts();
  };
  /** Pages that once held tables may hold data now. */
  const unflagTables = (): void => {
    const first = state.PAGE_FLAGS;
    const last = first + memory.ramBytes / 4096;
    for (let at = first; at < last; at += 1) {
      bytes[at] = (bytes[at] ?? 0) & ~(PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE);
    }
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
    stageFrames.fill(-1);
    codePages.clear();
    forgetBlocks();
    forgetData();
  };

  /** Guest-physical frames that the second stage has translated, for each kind of access. */
  const stageFrames = new Float64Array(STAGE_ENTRIES).fill(-1);
  const stageMaddrs = new Float64Array(STAGE_ENTRIES);
  const throughStage: SecondStage['translate'] = (gpa, access, linear, forTable) => {
    const offset = gpa % 4096;
    const key = (gpa - offset) / 1024 + (access.execute ? 2 : access.write ? 1 : 0);
    const index = key % STAGE_ENTRIES;
    if (stageFrames[index] === key) return ((stageMaddrs[index] ?? 0) + offset) as Maddr;
    const maddr = cpu.stage.translate(gpa, access, linear, forTable);
    if (maddr === undefined) return undefined;
    stageFrames[index] = key;
    stageMaddrs[index] = maddr - offset;
    return maddr;
  };
  /** The second stage, which notes where entries of the guest's tables are. */
  const noting: SecondStage = {
    translate: (gpa, access, linear, forTable) => {
      const maddr = throughStage(gpa, access, linear, forTable);
      if (forTable && maddr !== undefined && maddr < memory.ramBytes) {
        const slot = pageFlagSlot(hostAddressOf(maddr));
        const flags = bytes[slot] ?? 0;
        if ((flags & flag) !== flag) {
          bytes[slot] = flags | flag;
          forgetData();
        }
      }
      return maddr;
    },
    beforeEntryWrite: (maddr, linear) => cpu.stage.beforeEntryWrite?.(maddr, linear),
  };
  const walk = (linear: bigint, write: boolean, execute: boolean): number => {
    flag = execute ? PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE : PAGE_HAS_TABLE;
    const access = { write, execute, user: cplOf(cpu) === 3 };
    const result = translateLinear(memory, noting, linear, access);
    if (result.kind !== 'page' || result.maddr >= memory.ramBytes) return 0;
    return hostAddressOf(result.maddr);
  };

  const refuse = (): number => {
    words[state.LEAVE_REASON >>> 2] = LEAVE_REASONS.precise;
    return 0;
  };
  const remember = (table: number, low: number, high: number, host: number): void => {
    const entry = (table + ((low >>> 8) & ((state.TLB_ENTRIES - 1) * 16))) >>> 2;
    words[entry] = (low & ~0xfff) | (words[state.TLB_CONTEXT >>> 2] ?? 0);
    words[entry + 1] = high;
    words[entry + 2] = (host - (low & ~0xfff)) | 0;
  };

  /** Whether these bytes are of one entry of long-mode tables that is not present: no walk used it. */
  const isEmptyEntry = (host: number, lengthBytes: number): boolean =>
    (host & 7) + lengthBytes <= 8 && ((bytes[host - (host & 7)] ?? 0) & 1) === 0;

  const { watches } = cpu;
  /** Whether the precise engine is to do this, or there is something to tell already. */
  const isWatched = (low: number, high: number, host: number, writes: boolean): boolean =>
    watches !== undefined && (watches.isPending || watches.watchesPage(low, high, host, writes));

  const fill = (low: number, high: number, access: number): number => {
    const writes = (access & WRITES) !== 0;
    const lengthBytes = access & 0xff;
    const offset = low & 0xfff;
    const top = high >> 15;
    if (offset + lengthBytes > 4096 || (top !== 0 && top !== -1)) return refuse();
    const index = (low >>> 12) & (SECOND_LEVEL - 1);
    const tag = (low & ~0xfff) | (words[state.TLB_CONTEXT >>> 2] ?? 0);
    const known = hosts[index] ?? 0;
    if (
      lowTags[index] === tag &&
      highTags[index] === high &&
      (!writes || (known & WRITABLE) !== 0)
    ) {
      const page = known - (known & WRITABLE);
      remember(writes ? state.TLB_WRITE : state.TLB_READ, low, high, page);
      return page + offset;
    }
    const host = walk(linearOf(low, high), writes, false);
    if (host === 0 || isWatched(low, high, host, writes)) return refuse();
    const page = host - offset;
    if (writes) {
      const isUnused = isEmptyEntry(host, lengthBytes);
      const flags = (bytes[pageFlagSlot(page)] ?? 0) & (isUnused ? ~PAGE_HAS_CODE_TABLE : ~0);
      if ((flags & PAGE_HAS_CODE_TABLE) !== 0) return refuse();
      if ((flags & PAGE_HAS_CODE) !== 0 && hasCode(host, lengthBytes)) return refuse();
      if ((flags & PAGE_HAS_TABLE) !== 0) {
        if (!isUnused) forgetData();
        return host;
      }
      if ((flags & PAGE_HAS_CODE) !== 0) return host;
      remember(state.TLB_WRITE, low, high, page);
    } else remember(state.TLB_READ, low, high, page);
    lowTags[index] = (low & ~0xfff) | (words[state.TLB_CONTEXT >>> 2] ?? 0);
    highTags[index] = high;
    hosts[index] = writes ? page + WRITABLE : page;
    return host;
  };

  const fillWhole = (low: number, high: number, access: number): number => {
    const host = fill(low, high, access);
    if (host === 0 || (access & WRITES) === 0) return host;
    const flags = bytes[pageFlagSlot(host)] ?? 0;
    return (flags & (PAGE_HAS_CODE | PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE)) === 0 ? host : 0;
  };

  const codePage = (low: number, high: number): number => {
    const frame = (high & 0xffff) * 2 ** 20 + (low >>> 12);
    const key = frame * 2 + (cplOf(cpu) === 3 ? 1 : 0);
    const known = codePages.get(key);
    if (known !== undefined) return known;
    const host = walk(linearOf(low, high), false, true);
    const page = host === 0 ? 0 : host - (host & 0xfff);
    if (page !== 0) codePages.set(key, page);
    return page;
  };

  const remembered = (linear: bigint, { write, execute, user, implicit }: PagingAccess): number => {
    if (user !== (cplOf(cpu) === 3)) return 0;
    // Only SMAP tells the processor's own accesses from others of its privilege.
    if (implicit === true && (word(cpu, state.CR4) & CR4_SMAP) !== 0) return 0;
    const low = Number(linear & 0xffff_ffffn) | 0;
    const high = Number(linear >> 32n) | 0;
    if (!execute) return fill(low, high, write ? WRITES | 1 : 1);
    const top = high >> 15;
    const isUsual = word(cpu, state.CODE_WIDTH) === 64 && (top === 0 || top === -1);
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
    if (changed) forget();
    else setContexts();
  };
  return {
    fill,
    fillWhole,
    remembered,
    codePage,
    refresh,
    forget,
    forgetData,
    forgetBlocks,
  };
};
