/** Control, debug and model-specific registers. SDM Vol. 3A 2.5, 9.8.5; Vol. 3B 17.2; Vol. 4. */

import { hostAddressOf } from '../../memory/machine-memory.ts';
import {
  type Cpu,
  cplOf,
  is64Bit,
  isLongMode,
  quad,
  raise,
  setQuad,
  setWord,
  word,
} from '../cpu.ts';
import { msrOf, readTimeStamp } from '../msrs.ts';
import { linearNumber, type PagingAccess } from '../paging.ts';
import { OUTCOME, type Outcome } from '../processor.ts';
import * as state from '../state.ts';
import { numberAt, type Operation, readWordSource } from './operation.ts';

const CR0_PE = 1n;
const CR0_NW = 1n << 29n;
const CR0_CD = 1n << 30n;
const CR0_PG = 1n << 31n;
const CR0_DEFINED = 0xe005_003fn;
const CR0_ET = 16n;
const CR4_PAE = 1n << 5n;
/** VME to PCE, OSFXSR, OSXMMEXCPT, UMIP, VMXE, FSGSBASE, SMEP, SMAP. */
export const CR4_DEFINED = 0x31_2fffn;
/** Changes of CD, NW and PG, and of PAE, PGE, PSE and SMEP load the PDPTE registers. */
const CR0_RELOADS = 0xe000_0000n;
const CR4_RELOADS = 0x10_00b0n;
const PDPTE_RESERVED = 0xffff_c000_0000_01e6n;
const TABLE_READ: PagingAccess = { write: false, execute: false, user: false };
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
const CR3_ADDRESS = 0x0000_3fff_ffff_f018n;

const slotOfControl: Readonly<Record<number, number>> = {
  0: state.CR0,
  2: state.CR2,
  3: state.CR3,
  4: state.CR4,
  8: state.CR8,
};

/** Writes a general register: 64 bits in 64-bit mode, else 32. */
const setGeneral = (cpu: Cpu, register: number, value: bigint): void =>
  setQuad(cpu, state.registerSlot(register), is64Bit(cpu) ? value : BigInt.asUintN(32, value));

export const readControlRegister: Operation = (cpu, args) => {
  const number = numberAt(args, 0);
  const slot = slotOfControl[number];
  if (slot === undefined) return raise(cpu, 'UD');
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const value = quad(cpu, slot);
  const visible = cpu.nonRoot?.readControlRegister(number, value) ?? value;
  setGeneral(cpu, numberAt(args, 1), visible);
  return OUTCOME.next;
};

export const writeControlRegister: Operation = (cpu, args) => {
  const number = numberAt(args, 0);
  const slot = slotOfControl[number];
  if (slot === undefined) return raise(cpu, 'UD');
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const old = quad(cpu, slot);
  const wanted = args[1] ?? 0n;
  const value = cpu.nonRoot?.writeControlRegister(number, old, wanted) ?? wanted;
  return finish(cpu, setControlRegister(cpu, number, value));
};

/** `exit`: loading the page-directory pointers has made a VM exit. */
type Setting = boolean | 'exit';

const finish = (cpu: Cpu, setting: Setting): Outcome =>
  setting === 'exit' ? OUTCOME.exit : setting ? OUTCOME.next : raise(cpu, 'GP', 0);

/** With PAE paging the four top entries are loaded here: SDM Vol. 3A 4.4.1 "PDPTE Registers". */
export const loadPointers = (cpu: Cpu, cr0: bigint, cr3: bigint, cr4: bigint): Setting => {
  const usesPae = (cr0 & CR0_PG) !== 0n && (cr4 & CR4_PAE) !== 0n;
  if (!usesPae || (quad(cpu, state.EFER) & EFER_LME) !== 0n) return true;
  const table = Number(cr3 & 0xffff_ffe0n);
  const at = cpu.stage.translate(table, TABLE_READ, undefined, false);
  if (at === undefined) return 'exit';
  const entries = [0, 1, 2, 3].map(
    (index) => cpu.memory.quads[(hostAddressOf(at) + index * 8) >>> 3] ?? 0n,
  );
  if (entries.some((entry) => (entry & 1n) !== 0n && (entry & PDPTE_RESERVED) !== 0n)) return false;
  for (const [index, entry] of entries.entries()) setQuad(cpu, state.PDPTES + index * 8, entry);
  return true;
};

/** Bits beyond the physical-address width are #GP in 64-bit mode; there is no PCID. */
const setCr3 = (cpu: Cpu, value: bigint): Setting => {
  const cr3 = isLongMode(cpu) ? value & CR3_ADDRESS : value & 0xffff_fff8n;
  if (is64Bit(cpu) && value >> 46n !== 0n) return false;
  const loaded = loadPointers(cpu, quad(cpu, state.CR0), cr3, quad(cpu, state.CR4));
  if (loaded !== true) return loaded;
  setQuad(cpu, state.CR3, cr3);
  cpu.invalidate();
  return true;
};

/** Sets a control register if the processor allows the value; false for #GP(0). */
const setControlRegister = (cpu: Cpu, number: number, value: bigint): Setting => {
  switch (number) {
    case 0:
      return setCr0(cpu, value);
    case 3: {
      return setCr3(cpu, value);
    }
    case 4: {
      const needsPae = isLongMode(cpu) && (value & CR4_PAE) === 0n;
      if ((value & ~CR4_DEFINED) !== 0n || needsPae) return false;
      const reloads = ((quad(cpu, state.CR4) ^ value) & CR4_RELOADS) !== 0n;
      const cr3 = quad(cpu, state.CR3);
      const loaded = !reloads || loadPointers(cpu, quad(cpu, state.CR0), cr3, value);
      if (loaded !== true) return loaded;
      setQuad(cpu, state.CR4, value);
      break;
    }
    case 8:
      if (value > 15n) return false;
      setQuad(cpu, state.CR8, value);
      break;
    default:
      setQuad(cpu, slotOfControl[number] ?? state.CR2, value);
  }
  cpu.invalidate();
  return true;
};

const CS_LONG = 0x2000;
/** Bit 3 of the type tells a 32-bit task-state segment from a 16-bit one. */
const TSS_32 = 8;

/** IA-32e mode needs PAE, a code segment with L = 0 and a 32-bit TSS: SDM Vol. 3A 9.8.5. */
const mayEnterLong = (cpu: Cpu): boolean =>
  (quad(cpu, state.CR4) & CR4_PAE) !== 0n &&
  (word(cpu, state.segmentAccess(state.CS)) & CS_LONG) === 0 &&
  (word(cpu, state.segmentAccess(state.TR)) & TSS_32) !== 0;

const setCr0 = (cpu: Cpu, wanted: bigint): Setting => {
  const old = quad(cpu, state.CR0);
  const value = (wanted & CR0_DEFINED) | CR0_ET;
  const turnsOn = (value & ~old & CR0_PG) !== 0n;
  const turnsOff = (old & ~value & CR0_PG) !== 0n;
  const efer = quad(cpu, state.EFER);
  if (wanted >> 32n !== 0n) return false;
  if ((value & CR0_PG) !== 0n && (value & CR0_PE) === 0n) return false;
  if ((value & CR0_NW) !== 0n && (value & CR0_CD) === 0n) return false;
  if (turnsOff && is64Bit(cpu)) return false;
  const entersLong = turnsOn && (efer & EFER_LME) !== 0n;
  if (entersLong && !mayEnterLong(cpu)) return false;
  const reloads = ((old ^ value) & CR0_RELOADS) !== 0n;
  const loaded = !reloads || loadPointers(cpu, value, quad(cpu, state.CR3), quad(cpu, state.CR4));
  if (loaded !== true) return loaded;
  setQuad(cpu, state.CR0, value);
  if (entersLong) setQuad(cpu, state.EFER, efer | EFER_LMA);
  if (turnsOff) setQuad(cpu, state.EFER, efer & ~EFER_LMA);
  cpu.invalidate();
  return true;
};

export const clts: Operation = (cpu) => {
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const old = quad(cpu, state.CR0);
  const cleared = old & ~8n;
  setQuad(cpu, state.CR0, cpu.nonRoot?.writeControlRegister(0, old, cleared) ?? cleared);
  return OUTCOME.next;
};

export const lmsw: Operation = (cpu, args) => {
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const source = readWordSource(cpu, args, 0);
  if ('failure' in source) return source.failure;
  const old = quad(cpu, state.CR0);
  const low = BigInt(source.value & 15);
  const wanted = (old & ~14n) | low | (old & CR0_PE);
  const value = cpu.nonRoot?.writeControlRegister(0, old, wanted) ?? wanted;
  return finish(cpu, setCr0(cpu, value));
};

const CR4_DE = 1 << 3;
const DR7_GENERAL_DETECT = 1 << 13;
const DR6_BD = 0x2000n;

/** What MOV DR raises before it moves: SDM Vol. 3B 17.2; undefined if nothing. */
const refuseDebugRegister = (cpu: Cpu, number: number): Outcome | undefined => {
  const isAlias = number === 4 || number === 5;
  if (isAlias && (word(cpu, state.CR4) & CR4_DE) !== 0) return raise(cpu, 'UD');
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  if ((word(cpu, state.DR7) & DR7_GENERAL_DETECT) === 0) return undefined;
  setQuad(cpu, state.FAULT_ADDRESS, DR6_BD);
  return raise(cpu, 'DB');
};

const debugSlot = (number: number): number =>
  number < 4 ? state.DEBUG_REGISTERS + number * 8 : number % 2 === 0 ? state.DR6 : state.DR7;

export const readDebugRegister: Operation = (cpu, args) => {
  const number = numberAt(args, 0);
  const refusal = refuseDebugRegister(cpu, number);
  if (refusal !== undefined) return refusal;
  setGeneral(cpu, numberAt(args, 1), quad(cpu, debugSlot(number)));
  return OUTCOME.next;
};

export const writeDebugRegister: Operation = (cpu, args) => {
  const number = numberAt(args, 0);
  const refusal = refuseDebugRegister(cpu, number);
  if (refusal !== undefined) return refusal;
  const value = args[1] ?? 0n;
  if (number >= 4 && value >> 32n !== 0n) return raise(cpu, 'GP', 0);
  const isStatus = number === 4 || number === 6;
  const fixed =
    number < 4
      ? value
      : isStatus
        ? (value & 0xe00fn) | 0xffff_0ff0n
        : (value & 0xffff_23ffn) | 0x400n;
  setQuad(cpu, debugSlot(number), fixed);
  return OUTCOME.next;
};

const EAX = state.registerSlot(0);
const ECX = state.registerSlot(1);
const EDX = state.registerSlot(2);

export const rdmsr: Operation = (cpu) => {
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const msr = msrOf(word(cpu, ECX) >>> 0);
  if (msr === undefined) return raise(cpu, 'GP', 0);
  const value = msr.read(cpu);
  setQuad(cpu, EAX, value & 0xffff_ffffn);
  setQuad(cpu, EDX, value >> 32n);
  return OUTCOME.next;
};

export const wrmsr: Operation = (cpu) => {
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const msr = msrOf(word(cpu, ECX) >>> 0);
  const value = (quad(cpu, EDX) << 32n) | (quad(cpu, EAX) & 0xffff_ffffn);
  const isTaken = msr?.write?.(cpu, BigInt.asUintN(64, value)) ?? false;
  if (!isTaken) return raise(cpu, 'GP', 0);
  cpu.invalidate();
  return OUTCOME.next;
};

const setTimeStamp = (cpu: Cpu): void => {
  const value = readTimeStamp(cpu);
  setQuad(cpu, EAX, value & 0xffff_ffffn);
  setQuad(cpu, EDX, value >> 32n);
};

const CR4_TSD = 4;

export const rdtsc: Operation = (cpu) => {
  if ((word(cpu, state.CR4) & CR4_TSD) !== 0 && cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  setTimeStamp(cpu);
  return OUTCOME.next;
};

export const rdtscp: Operation = (cpu, args) => {
  if (cpu.nonRoot?.disables?.('rdtscp') === true) return raise(cpu, 'UD');
  const outcome = rdtsc(cpu, args);
  if (outcome === OUTCOME.next) setQuad(cpu, ECX, quad(cpu, state.TSC_AUX) & 0xffff_ffffn);
  return outcome;
};

export const swapgs: Operation = (cpu) => {
  if (!is64Bit(cpu)) return raise(cpu, 'UD');
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  const slot = state.segmentBase(state.GS);
  const base = quad(cpu, slot);
  setQuad(cpu, slot, quad(cpu, state.KERNEL_GS_BASE));
  setQuad(cpu, state.KERNEL_GS_BASE, base);
  return OUTCOME.next;
};

/** INVLPG and its kin drop translations; that all are dropped is allowed. */
export const invalidateTranslations: Operation = (cpu, args) => {
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  cpu.tlb?.drop(linearNumber(args[1] ?? 0n));
  cpu.invalidate();
  return OUTCOME.next;
};

/** INVD, WBINVD: there are no caches whose contents differ from memory. */
export const flushCaches: Operation = (cpu) =>
  cplOf(cpu) === 0 ? OUTCOME.next : raise(cpu, 'GP', 0);

export const hlt: Operation = (cpu) => {
  if (cplOf(cpu) !== 0) return raise(cpu, 'GP', 0);
  setWord(cpu, state.ACTIVITY, 1);
  return OUTCOME.next;
};
