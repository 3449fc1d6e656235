/**
 * The generated function that finds the host address of an access which the TLB does not hold: in
 * the second level, or by the last step of a page walk whose upper levels are kept. It sets accessed
 * and dirty bits and makes page faults pending as translateLinear (cpu/paging.ts) does. Whatever is
 * not in its tables, which translations.ts keeps, it leaves to the slow function, whose result is
 * the same.
 */
import { LEAVE_REASONS } from '../../cpu/processor.ts';
import * as state from '../../cpu/state.ts';
import { PAGE_HAS_CODE, PAGE_HAS_CODE_TABLE, PAGE_HAS_TABLE } from '../../memory/machine-memory.ts';
import * as w from '../wasm/expression.ts';
import { FunctionWriter } from '../wasm/function-writer.ts';
import { has, lacks, word, ZERO } from './slots.ts';
import {
  ACCESS_FAULTS,
  ACCESS_WRITES,
  CONTEXT_ALIGNMENT,
  CONTEXT_GENERATION,
  CONTEXT_USER,
  LAST_TABLE,
  RUN,
  SECOND_WRITABLE,
  SEVERAL,
} from './translation-tables.ts';

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const NX_SHIFT = 63;
const EFER_NXE = 0x800;
const CR0_WP = 1 << 16;
const CR4_SMAP = 1 << 21;
const FRAME_MASK = 0x000f_ffff_ffff_f000n;
/** Bits 51:46: MAXPHYADDR is 46. */
const RESERVED = 0x000f_c000_0000_0000n;
const ERROR_PRESENT = 1;
const ERROR_WRITE = 2;
const ERROR_USER = 4;
const PF = 14;
const SPECIAL = PAGE_HAS_CODE | PAGE_HAS_TABLE | PAGE_HAS_CODE_TABLE;

const both = (a: w.Expression, b: w.Expression): w.Expression => w.and(a, b);

/** (address, access) -> host address, or 0 and LEAVE_REASON is set. `slow` is the import. */
export const writeFill = (slow: number): FunctionWriter => {
  const f = new FunctionWriter(2);
  const address = w.local('i64', 0);
  const access = w.local('i32', 1);
  const low = f.bind(w.wrap(address));
  const offset = f.bind(w.and(low, w.i32(0xfff)));
  const host = f.temporary('i32');
  const giveUp = (): void => {
    f.call(slow, low, w.wrap(w.shiftRight(address, w.i64(32))), access);
    f.setFromStack(host);
    f.return(host);
  };
  const last = w.add(offset, w.and(access, w.i32(0xff)));
  f.if(w.lessUnsigned(w.i32(4096), last), giveUp);
  const context = f.bind(word(state.TLB_CONTEXT));
  const tag = f.bind(w.or(w.and(address, w.i64(-4096)), w.extendUnsigned(context)));
  const page = f.bind(w.shiftRight(low, w.i32(12)));
  const second = f.bind(w.shiftLeft(w.and(page, w.i32(state.TLB_SECOND_ENTRIES - 1)), w.i32(4)));
  const writes = f.bind(has(access, ACCESS_WRITES));
  const known = f.bind(w.load('i32', 32, second, state.TLB_SECOND + 8));
  const serves = w.or(w.isZero(writes), w.and(known, w.i32(SECOND_WRITABLE)));
  const isKnown = both(w.equal(w.load('i64', 64, second, state.TLB_SECOND), tag), serves);
  f.if(
    isKnown,
    () => f.set(host, w.and(known, w.i32(~SECOND_WRITABLE))),
    () => {
      f.scoped(() => walkLast(f, { address, access, low, context, writes, host, giveUp }));
      f.store(64, second, state.TLB_SECOND, tag);
      f.store(32, second, state.TLB_SECOND + 8, w.or(host, writes));
      f.scoped(() => noteLeading(f, host, page));
    },
  );
  const first = f.bind(w.shiftLeft(w.and(page, w.i32(state.TLB_ENTRIES - 1)), w.i32(4)));
  const remember = (table: number): void => {
    f.store(64, first, table, tag);
    f.store(32, first, table + 8, w.subtract(host, w.and(low, w.i32(-4096))));
    f.return(w.add(host, offset));
  };
  f.if(w.isZero(writes), () => remember(state.TLB_READ));
  const frame = f.bind(w.shiftRight(w.subtract(host, w.i32(state.RAM)), w.i32(12)));
  const flags = f.bind(w.and(w.load('i32', 8, frame, state.PAGE_FLAGS), w.i32(SPECIAL)));
  f.if(w.isZero(flags), () => remember(state.TLB_WRITE));
  f.if(has(flags, PAGE_HAS_CODE | PAGE_HAS_CODE_TABLE), giveUp);
  f.scoped(() => writeEntry(f, { access, offset, host, frame, giveUp }));
  f.unreachable();
  return f;
};

interface LastWalk {
  readonly address: w.Expression;
  readonly access: w.Expression;
  readonly low: w.Expression;
  readonly context: w.Expression;
  readonly writes: w.Expression;
  /** Set to the host address of the page. */
  readonly host: w.Expression;
  readonly giveUp: () => void;
}

/** The last step of a walk, and the second stage. */
const walkLast = (f: FunctionWriter, walk: LastWalk): void => {
  const { address, low, context, writes, host, giveUp } = walk;
  f.if(w.isZero(word(state.MAY_FILL)), giveUp);
  const stretch = w.and(w.shiftRight(low, w.i32(21)), w.i32(state.LAST_TABLES_ENTRIES - 1));
  const kept = f.bind(w.shiftLeft(stretch, w.i32(4)));
  const generation = w.and(context, w.i32(CONTEXT_GENERATION));
  const key = w.or(w.and(address, w.i64(-(2 ** 21))), w.extendUnsigned(generation));
  f.if(w.differs(w.load('i64', 64, kept, state.LAST_TABLES), key), giveUp);
  const bits = f.bind(w.load('i32', 32, kept, state.LAST_TABLES + 12));
  const place = f.bind(w.load('i32', 32, kept, state.LAST_TABLES + 8));
  const gpa = f.temporary('i64');
  f.if(
    has(bits, LAST_TABLE.isPage),
    () => {
      checkRights(f, walk, bits);
      f.if(both(writes, lacks(bits, LAST_TABLE.isDirty)), giveUp);
      const base = w.shiftLeft(w.extendUnsigned(place), w.i64(21));
      f.set(gpa, w.or(base, w.extendUnsigned(w.and(low, w.i32(2 ** 21 - 4096)))));
    },
    () => {
      const at = f.bind(w.add(place, w.and(w.shiftRight(low, w.i32(9)), w.i32(0xff8))));
      const entry = f.bind(w.load('i64', 64, at));
      const entryLow = f.bind(w.wrap(entry));
      f.if(lacks(entryLow, PRESENT), () => faultOrGiveUp(f, walk, 0));
      f.if(w.differs(w.and(entry, w.i64(RESERVED)), w.i64(0)), giveUp);
      const isNoExecute = w.wrap(w.shiftRight(entry, w.i64(NX_SHIFT)));
      f.if(both(isNoExecute, lacks(word(state.EFER), EFER_NXE)), giveUp);
      checkRights(f, walk, f.bind(w.and(bits, entryLow)));
      const wanted = f.bind(
        w.or(entryLow, w.select(writes, w.i32(ACCESSED | DIRTY), w.i32(ACCESSED))),
      );
      f.if(w.differs(wanted, entryLow), () => {
        f.if(lacks(bits, LAST_TABLE.maySetBits), giveUp);
        f.store(32, at, 0, wanted);
      });
      f.set(gpa, w.and(entry, w.i64(FRAME_MASK)));
    },
  );
  const stageKey = w.or(gpa, w.extendUnsigned(w.or(word(state.STAGE_CONTEXT), writes)));
  const number = w.and(w.shiftRight(w.wrap(gpa), w.i32(10)), w.i32(state.STAGE_ENTRIES - 4));
  const stage = f.bind(w.shiftLeft(w.or(number, writes), w.i32(4)));
  f.if(w.differs(w.load('i64', 64, stage, state.STAGE), stageKey), giveUp);
  f.set(host, w.load('i32', 32, stage, state.STAGE + 8));
};

/** `rights` has the writable and user bits of the whole walk. */
const checkRights = (f: FunctionWriter, walk: LastWalk, rights: w.Expression): void => {
  const { context, writes } = walk;
  const deny = (): void => faultOrGiveUp(f, walk, ERROR_PRESENT);
  const isReadOnly = both(writes, lacks(rights, WRITABLE));
  f.if(
    has(context, CONTEXT_USER),
    () => {
      f.if(lacks(rights, USER), deny);
      f.if(isReadOnly, deny);
    },
    () => {
      const isKept = both(lacks(context, CONTEXT_ALIGNMENT), has(word(state.CR4), CR4_SMAP));
      f.if(both(has(rights, USER), isKept), deny);
      f.if(both(isReadOnly, has(word(state.CR0), CR0_WP)), deny);
    },
  );
};

/** A page fault, if it may be made pending here. */
const faultOrGiveUp = (f: FunctionWriter, walk: LastWalk, present: number): void => {
  const { address, access, context, writes, giveUp } = walk;
  f.if(both(has(access, ACCESS_FAULTS), lacks(context, CONTEXT_ALIGNMENT)), () => {
    const ofUser = w.select(has(context, CONTEXT_USER), w.i32(ERROR_USER), ZERO);
    const ofWrite = w.select(writes, w.i32(ERROR_WRITE), ZERO);
    f.store(32, ZERO, state.FAULT_VECTOR, w.i32(PF));
    f.store(32, ZERO, state.FAULT_ERROR, w.or(w.or(ofUser, ofWrite), w.i32(present)));
    f.store(32, ZERO, state.FAULT_FLAGS, w.i32(1));
    f.store(64, ZERO, state.FAULT_ADDRESS, address);
    f.store(32, ZERO, state.LEAVE_REASON, w.i32(LEAVE_REASONS.fault));
    f.return(ZERO);
  });
  giveUp();
};

/** The machine page at `host` is led to by the second level's entry of `page`, too. */
const noteLeading = (f: FunctionWriter, host: w.Expression, page: w.Expression): void => {
  const frame = w.shiftRight(w.subtract(host, w.i32(state.RAM)), w.i32(12));
  const slot = f.bind(w.shiftLeft(frame, w.i32(2)));
  const entry = f.bind(w.add(w.and(page, w.i32(state.TLB_SECOND_ENTRIES - 1)), w.i32(1)));
  const known = f.bind(w.load('i32', 32, slot, state.LEADING));
  f.if(w.differs(known, entry), () => {
    const more = w.select(w.equal(known, w.i32(RUN)), w.i32(RUN), w.i32(SEVERAL));
    f.store(32, slot, state.LEADING, w.select(known, more, entry));
  });
};

interface EntryWrite {
  readonly access: w.Expression;
  readonly offset: w.Expression;
  /** Of the page. */
  readonly host: w.Expression;
  readonly frame: w.Expression;
  readonly giveUp: () => void;
}

/** A write to a page with paging entries: what depends on the entry is forgotten. */
const writeEntry = (f: FunctionWriter, write: EntryWrite): void => {
  const { access, offset, host, frame, giveUp } = write;
  const last = w.add(w.and(offset, w.i32(7)), w.and(access, w.i32(0xff)));
  f.if(w.lessUnsigned(w.i32(8), last), giveUp);
  const place = f.bind(w.add(host, offset));
  const region = f.bind(w.load('i32', 32, w.shiftLeft(frame, w.i32(2)), state.TABLE_REGIONS));
  f.if(w.lessSigned(region, w.i32(1)), giveUp);
  // No walk used an entry that is not present.
  f.if(lacks(w.load('i32', 8, w.and(place, w.i32(-8))), PRESENT), () => f.return(place));
  const number = w.or(
    w.shiftLeft(w.subtract(region, w.i32(1)), w.i32(9)),
    w.shiftRight(offset, w.i32(3)),
  );
  const page = f.bind(number);
  const first = f.bind(w.shiftLeft(w.and(page, w.i32(state.TLB_ENTRIES - 1)), w.i32(4)));
  f.store(64, first, state.TLB_READ, w.i64(0));
  f.store(64, first, state.TLB_WRITE, w.i64(0));
  const second = w.shiftLeft(w.and(page, w.i32(state.TLB_SECOND_ENTRIES - 1)), w.i32(4));
  f.store(64, second, state.TLB_SECOND, w.i64(0));
  f.return(place);
};
