/**
 * Random hypercalls of a hostile guest: any number and arguments, and, more often, those that have a
 * chance to get further: a real hypercall, with structures in memory that look as they should.
 */
import { registerSlot } from '../../emulator/cpu/state.ts';
import type { XenVcpu } from '../../emulator/hypervisor/domain.ts';
import { entriesOf, GTF, writeEntry } from '../../emulator/hypervisor/grants/grant-table.ts';
import { HYPERCALLS } from '../../emulator/hypervisor/hypercalls/catalog.ts';
import {
  decodeHypercall,
  performHypercall,
} from '../../emulator/hypervisor/hypercalls/dispatch.ts';
import {
  type FieldType,
  type Hypercall,
  placeFields,
  writeNumber,
} from '../../emulator/hypervisor/hypercalls/hypercall.ts';
import { copyToGuest } from '../../emulator/hypervisor/hypervisor.ts';
import { directPagingOf } from '../../emulator/hypervisor/pv/mmu/direct-paging.ts';
import { pvOf, toggleMode } from '../../emulator/hypervisor/pv/mode.ts';
import type { Gfn, Mfn } from '../../emulator/memory/addresses.ts';
import { maddrOf } from '../../emulator/memory/addresses.ts';
import { hostAddressOf } from '../../emulator/memory/machine-memory.ts';
import { enterLongMode, type HostileGuest, type HostileMachine, VIRTUAL_BASE } from './machine.ts';
import type { Random } from './random.ts';

const LONG_ARGUMENTS = [7, 6, 2, 10, 8];
const PROTECTED_ARGUMENTS = [3, 1, 2, 6, 7];
const RAX = registerSlot(0);
const RSP = registerSlot(4);
const DOMID_SELF = 0x7ff0;
const DOMIDS = [DOMID_SELF, DOMID_SELF, 0, 0x7ff1, 0x7ff2, 0x7ff3, 0x7ff4, 0x7fff, 0xffff];
const BLOCK_BYTES = 1024;
/** Where lists begin that structures point to. */
const LISTS = 640;
const MOST_CONTINUATIONS = 2;
const WORD_MASK = 0xffff_ffff_ffff_ffffn;

const MMU_UPDATE = 1;
const SET_TRAP_TABLE = 0;
const SET_GDT = 2;
const UPDATE_VA_MAPPING = 14;
const MULTICALL = 13;
const CONSOLE_IO = 18;
const OTHERDOMAIN = 22;
const VCPU_OP = 24;
const MMUEXT_OP = 26;
const NUMBERS = 64;
/** Hypercalls that end the domain, or are likely to: seldom made, so that others are reached. */
const SELDOM = new Set(['SCHEDOP_shutdown', 'iret']);

/** What a guest has in hand for a row of calls. */
interface Turn {
  readonly guest: HostileGuest;
  readonly other: HostileGuest;
  readonly vcpu: XenVcpu;
  /** Linear address of its arguments. */
  readonly base: bigint;
  readonly isLong: boolean;
}

export interface Caller {
  /** What the last call was, in words. */
  readonly last: string;
  /** Makes so many calls of one guest; how many were made, 0 if it has no memory for arguments. */
  makeCalls(guest: HostileGuest, count: number): number;
}

export const createCaller = (machine: HostileMachine, random: Random): Caller => {
  const { hypervisor } = machine;
  const { hardware, frames } = hypervisor;
  let last: { readonly turn: Turn; readonly name: string; readonly args: readonly bigint[] };

  const mfnOfGuest = (guest: HostileGuest): number => {
    const { p2m, maximumPages } = guest.domain;
    return p2m.mfnOf(random.below(maximumPages) as Gfn) ?? 0;
  };
  const frameOf = (turn: Turn): number => {
    const { guest, other } = turn;
    switch (random.below(12)) {
      case 0:
        return mfnOfGuest(other);
      case 1:
        return machine.bystander.p2m.mfnOf(random.below(512) as Gfn) ?? 0;
      case 2:
        return random.below(frames.owners.length + 16);
      case 3:
        return random.pick([...guest.domain.grants.shared, guest.domain.sharedInfo]);
      case 4:
        return random.below(guest.domain.maximumPages + 8);
      default:
        return guest.kind === 'pv'
          ? mfnOfGuest(guest)
          : random.below(guest.domain.maximumPages + 8);
    }
  };
  const linearOf = ({ guest, base }: Turn): bigint => {
    if (random.oneIn(2)) return base + BigInt(random.below(BLOCK_BYTES));
    const at = BigInt(random.below(1300) * 4096 + (random.oneIn(4) ? random.below(4096) : 0));
    return guest.kind === 'pv' ? VIRTUAL_BASE + at : at;
  };
  const boundary = (): bigint =>
    (1n << BigInt(random.below(65))) + BigInt(random.below(3) - 1) - (random.oneIn(4) ? 4096n : 0n);
  const value = (turn: Turn): bigint => {
    switch (random.below(16)) {
      case 0:
        return random.wide();
      case 1:
      case 2:
        return boundary() & WORD_MASK;
      case 3:
        return 0xffff_8000_0000_0000n + BigInt(random.below(0x100_0000)) * 4096n;
      case 4:
      case 5:
        return linearOf(turn);
      case 6:
      case 7:
      case 8:
        return BigInt(frameOf(turn));
      case 9:
      case 10:
        return BigInt(frameOf(turn)) * 4096n + BigInt(random.below(512) * 8 + random.below(4));
      case 11:
      case 12:
        return BigInt(frameOf(turn)) * 4096n + random.pick([0n, 1n, 3n, 5n, 7n, 0x67n, 0x85n]);
      case 13:
        return BigInt(random.pick(DOMIDS));
      default:
        return BigInt(random.below(24));
    }
  };
  const domid = ({ guest, other }: Turn): bigint => {
    if (random.oneIn(2)) return BigInt(random.pick([DOMID_SELF, other.domain.id]));
    const ids = [...DOMIDS, guest.domain.id, other.domain.id, machine.bystander.id];
    return BigInt(random.oneIn(8) ? random.below(9) : random.pick(ids));
  };
  const small = (turn: Turn): bigint => (random.oneIn(6) ? value(turn) : BigInt(random.below(9)));
  const pointer = (turn: Turn): bigint =>
    random.oneIn(8) ? value(turn) : turn.base + BigInt(LISTS + random.below(32) * 8);
  const fieldValue = (turn: Turn, name: string, type: FieldType): bigint => {
    if (/^(nr_|extent_order|.*_order|count|vcpu|port|ref|idx|space|virq|index)/.test(name)) {
      return small(turn);
    }
    if (type === 'handle') return pointer(turn);
    if (type === 'u16') return random.oneIn(6) ? value(turn) : domid(turn);
    if (type === 'u8' || type === 'u32') return random.oneIn(3) ? value(turn) : small(turn);
    return value(turn);
  };

  /** The guest's memory for the next call. */
  const block = new Uint8Array(BLOCK_BYTES);
  const blockView = new DataView(block.buffer);
  const putWord = (at: number, word: bigint): void => {
    if (at + 8 <= BLOCK_BYTES) blockView.setBigUint64(at, word & WORD_MASK, true);
  };
  const fill = (turn: Turn, definition: Hypercall | undefined): void => {
    for (let count = 0; count < 3; count += 1) {
      putWord(random.below(BLOCK_BYTES / 8) * 8, value(turn));
    }
    if (random.oneIn(16)) for (let at = 0; at < BLOCK_BYTES; at += 8) putWord(at, value(turn));
    for (let at = LISTS; at < LISTS + 64; at += turn.isLong ? 8 : 4) {
      if (turn.isLong) putWord(at, BigInt(frameOf(turn)));
      else blockView.setUint32(at, frameOf(turn), true);
    }
    if (definition?.argument !== undefined) {
      const placed = placeFields(definition.argument, turn.isLong ? 8 : 4);
      const count = definition.isList === true ? 4 : 1;
      const types = definition.argument;
      for (let index = 0; index < count; index += 1) {
        for (const { name, offset, bytes } of placed.fields) {
          const at = index * placed.bytes + offset;
          if (at + bytes > LISTS) continue;
          writeNumber(block, at, bytes, fieldValue(turn, name, types[name] ?? 'u32') & WORD_MASK);
        }
      }
      return;
    }
    fillList(turn, definition?.number);
  };
  const fillList = (turn: Turn, number: number | undefined): void => {
    switch (number) {
      case MMU_UPDATE:
        for (let at = 0; at < 96; at += 16) {
          const slot = BigInt(random.below(512) * 8 + random.pick([0, 0, 0, 1, 2, 3, 4]));
          putWord(at, BigInt(frameOf(turn)) * 4096n + slot);
          putWord(at + 8, random.oneIn(4) ? value(turn) : entry(turn));
        }
        return;
      case MMUEXT_OP:
        for (let at = 0; at < 96; at += 24) {
          putWord(at, BigInt(random.below(22)));
          putWord(at + 8, random.oneIn(8) ? value(turn) : BigInt(frameOf(turn)));
          putWord(at + 16, random.oneIn(2) ? value(turn) : BigInt(frameOf(turn)));
        }
        return;
      case MULTICALL:
        for (let at = 0; at < 512; at += 64) {
          const definition = definitionFor(turn);
          putWord(at, BigInt(definition.number));
          argumentsOf(turn, definition).forEach((argument, index) => {
            putWord(at + 16 + index * 8, argument);
          });
        }
        return;
      case SET_TRAP_TABLE:
        for (let at = 0; at < 512; at += 16) {
          putWord(at, random.wide());
          putWord(at + 8, random.oneIn(6) ? 0n : linearOf(turn));
        }
        return;
      case SET_GDT:
        for (let at = 0; at < 128; at += 8) putWord(at, BigInt(frameOf(turn)));
        return;
      default:
    }
  };
  const entry = (turn: Turn): bigint =>
    BigInt(frameOf(turn)) * 4096n + random.pick([0n, 1n, 3n, 5n, 7n, 0x67n, 0x61n, 0x63n]);

  const definitionFor = ({ guest }: Turn): Hypercall => {
    for (;;) {
      const found = random.pick(HYPERCALLS);
      const isFor = found.only === undefined || (found.only === 'pv') === (guest.kind === 'pv');
      if ((isFor || random.oneIn(8)) && (!SELDOM.has(found.name) || random.oneIn(24))) return found;
    }
  };
  const argumentsOf = (turn: Turn, definition: Hypercall): bigint[] => {
    const args = Array.from({ length: 5 }, () => (random.oneIn(2) ? small(turn) : value(turn)));
    const { number, command, argumentIndex = 1 } = definition;
    const isWild = random.oneIn(24);
    if (command !== undefined) {
      const goesOn = number === 12 && random.oneIn(16) ? BigInt(random.below(9)) << 6n : 0n;
      args[0] = BigInt(command) | goesOn;
    }
    if (isWild) return args;
    if (definition.argument !== undefined) args[argumentIndex] = turn.base;
    if (definition.isList === true) args[2] = BigInt(random.below(5));
    switch (number) {
      case MMU_UPDATE:
      case MMUEXT_OP:
        args.splice(0, 4, turn.base, BigInt(random.below(5)), random.oneIn(2) ? 0n : pointer(turn));
        args[3] = random.oneIn(4) ? domid(turn) : BigInt(DOMID_SELF);
        break;
      case MULTICALL:
        args.splice(0, 2, turn.base, BigInt(random.below(9)));
        break;
      case SET_TRAP_TABLE:
      case SET_GDT:
        args[0] = turn.base;
        break;
      case UPDATE_VA_MAPPING:
      case OTHERDOMAIN:
        args.splice(0, 2, linearOf(turn), entry(turn));
        args[2] = BigInt(random.below(4));
        args[3] = domid(turn);
        break;
      case CONSOLE_IO:
        args.splice(0, 3, BigInt(random.below(3)), BigInt(random.below(300)), linearOf(turn));
        break;
      case VCPU_OP:
        args[1] = BigInt(random.below(3));
        break;
      default:
    }
    return args;
  };

  /** A guest page that takes the arguments; undefined if there is none. */
  const findBase = (guest: HostileGuest, vcpu: XenVcpu): bigint | undefined => {
    for (let attempt = 0; attempt < 32; attempt += 1) {
      const page = BigInt(random.below(1020) * 4096);
      const base = guest.kind === 'pv' ? VIRTUAL_BASE + page : page;
      if (copyToGuest(hypervisor, vcpu, base, block)) return base;
    }
    return undefined;
  };
  /** What the guest can do by itself to be able to go on. */
  const recover = (guest: HostileGuest, vcpu: XenVcpu): void => {
    hardware.load(vcpu);
    vcpu.state = 'runnable';
    if (guest.kind === 'pv') {
      // A system call of the process that IRET went to.
      if (!pvOf(vcpu).isKernel) toggleMode(hypervisor, vcpu);
      directPagingOf(hypervisor).setKernelRoot(vcpu, guest.root);
    } else if (vcpu.id === 1) enterLongMode(hypervisor, vcpu);
    hardware.load(vcpu);
  };
  /** Fills entries of its own grant table, as its memory; and its rings, now and then. */
  const scribbleShared = (turn: Turn): void => {
    const { guest } = turn;
    const { grants } = guest.domain;
    const count = Math.min(entriesOf(grants), 16);
    for (let index = 0; index < 4 && count > 0; index += 1) {
      const reference = random.below(count);
      const isFirst = grants.version === 1;
      const kind = random.pick([1, 1, 1, 2, 3, GTF.permitAccess | GTF.readOnly, 0x101]);
      const flags = random.oneIn(16) ? random.below(0x1_0000) : kind;
      writeEntry(hypervisor, grants, reference, 2, 2, Number(domid(turn)));
      const frame = random.oneIn(8) ? Number(value(turn)) : frameOf(turn);
      if (isFirst) writeEntry(hypervisor, grants, reference, 4, 4, frame);
      else writeEntry(hypervisor, grants, reference, 8, 8, frame);
      writeEntry(hypervisor, grants, reference, 0, 2, flags);
    }
    if (!random.oneIn(16) || guest.rings.length === 0) return;
    const ring: Mfn = random.pick(guest.rings);
    if (frames.isLeaving(ring)) return;
    const at = hostAddressOf(maddrOf(ring));
    for (let word = 0; word < 32; word += 1) {
      const place = random.oneIn(2) ? 0x800 + random.below(8) * 4 : random.below(1024) * 4;
      const number = random.oneIn(3) ? Number(random.wide() & 0xffff_ffffn) : random.below(2000);
      hardware.memory.view.setUint32(at + place, number, true);
    }
  };
  const perform = (turn: Turn): void => {
    const { vcpu, isLong, base } = turn;
    const isKnown = !random.oneIn(12);
    const definition = isKnown ? definitionFor(turn) : undefined;
    const number = definition?.number ?? random.below(NUMBERS);
    const args =
      definition === undefined
        ? Array.from({ length: 5 }, () => value(turn))
        : argumentsOf(turn, definition);
    fill(turn, definition);
    copyToGuest(hypervisor, vcpu, base, block);
    hardware.setSlot(vcpu, RAX, random.oneIn(500) ? random.wide() : BigInt(number));
    hardware.setSlot(vcpu, RSP, random.oneIn(4) ? value(turn) : base);
    const registers = isLong ? LONG_ARGUMENTS : PROTECTED_ARGUMENTS;
    registers.forEach((register, index) => {
      hardware.setSlot(vcpu, registerSlot(register), BigInt.asUintN(64, args[index] ?? 0n));
    });
    last = { turn, name: definition?.name ?? `${number}`, args };
    for (let again = 0; again < MOST_CONTINUATIONS; again += 1) {
      if (performHypercall(decodeHypercall(hypervisor, vcpu)) !== undefined) break;
    }
  };

  return {
    get last() {
      const { turn, name, args } = last;
      const words = args.map((argument) => `0x${argument.toString(16)}`).join(', ');
      return `domain ${turn.vcpu.domain.id} (${turn.guest.kind}): ${name}(${words})`;
    },
    makeCalls(guest, count) {
      const vcpu = random.pick(guest.domain.vcpus);
      recover(guest, vcpu);
      const base = findBase(guest, vcpu);
      if (base === undefined) return 0;
      const other = random.pick(machine.guests.filter((one) => one !== guest));
      const isLong = guest.kind === 'pv' || vcpu.id === 1;
      const turn: Turn = { guest, other, vcpu, base, isLong };
      scribbleShared(turn);
      let made = 0;
      while (made < count && guest.domain.state === 'running') {
        perform(turn);
        made += 1;
      }
      return made;
    },
  };
};
