/**
 * The local APIC of a processor, as Xen gives one to a guest: xAPIC and x2APIC mode, six LVT entries,
 * fixed interrupts by edges. Registers go by number, which is the x2APIC MSR less 0x800 and the xAPIC
 * offset over 16. Sources: SDM Vol. 3A ch. 10 "Advanced Programmable Interrupt Controller (APIC)",
 * Table 10-1 (registers), 10.8 (priorities, acceptance), 10.12 (x2APIC).
 */
import {
  type ApicTimerState,
  countOf,
  divideBy,
  dueOf,
  passTime,
  RESET_TIMER,
  startTimer,
} from './apic-timer.ts';
import type { Device } from './device.ts';

export const APIC_PAGE = 0xfee0_0000;
/** Bits of IA32_APIC_BASE. */
export const BASE_BSP = 1n << 8n;
export const BASE_X2APIC = 1n << 10n;
export const BASE_ENABLE = 1n << 11n;
const BASE_DEFINED = 0x3fff_ffff_f000n | BASE_BSP | BASE_X2APIC | BASE_ENABLE;

/** Registers by number. */
export const REGISTER = {
  ID: 0x02,
  VERSION: 0x03,
  TPR: 0x08,
  PPR: 0x0a,
  EOI: 0x0b,
  LDR: 0x0d,
  DFR: 0x0e,
  SVR: 0x0f,
  ISR: 0x10,
  TMR: 0x18,
  IRR: 0x20,
  ESR: 0x28,
  ICR: 0x30,
  ICR_HIGH: 0x31,
  LVT_TIMER: 0x32,
  LVT_THERMAL: 0x33,
  LVT_COUNTERS: 0x34,
  LVT_LINT0: 0x35,
  LVT_LINT1: 0x36,
  LVT_ERROR: 0x37,
  INITIAL_COUNT: 0x38,
  CURRENT_COUNT: 0x39,
  DIVIDE: 0x3e,
  SELF_IPI: 0x3f,
} as const;

/** Six LVT entries, version 0x14. */
const VERSION = 0x0005_0014;
const SVR_ENABLE = 1 << 8;
const LVT_MASKED = 1 << 16;
const LVT_PERIODIC = 1 << 17;
const ERROR_SEND_ILLEGAL = 1 << 5;
const ERROR_RECEIVE_ILLEGAL = 1 << 6;
const FIRST_VECTOR = 16;

/** What may be written to the LVT entries: vector and mask; mode, polarity and trigger where they are. */
const LVT_WRITABLE: readonly number[] = [0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];
const ICR_WRITABLE = 0x000c_cfff;

/** An interrupt on its way from an ICR. */
export interface Ipi {
  readonly vector: number;
  readonly mode: 'fixed' | 'lowest priority' | 'SMI' | 'NMI' | 'INIT' | 'SIPI' | 'reserved';
  readonly to: 'self' | 'all' | 'others' | { readonly logical: boolean; readonly id: number };
  /** From an x2APIC: a destination of 32 bits. */
  readonly isX2: boolean;
}

const MODES: readonly Ipi['mode'][] = [
  'fixed',
  'lowest priority',
  'SMI',
  'reserved',
  'NMI',
  'INIT',
  'SIPI',
  'reserved',
];

/** What a local APIC asks of its processor, and of the bus. */
export interface ApicProcessor {
  /** IA32_APIC_BASE. */
  base: bigint;
  /** CR8, which is TPR 7:4. */
  cr8: number;
  send(ipi: Ipi): void;
  /** A vector of the IRR has been set. */
  requested(): void;
}

export interface ApicState {
  tpr: number;
  svr: number;
  ldr: number;
  dfr: number;
  esr: number;
  /** Errors since the last write to ESR. */
  errors: number;
  icr: number;
  icrHigh: number;
  lvt: number[];
  timer: ApicTimerState;
  irr: number[];
  isr: number[];
  /** Of the vectors in the IRR: what asked for them last. */
  sources: { [vector: string]: string };
}

const RESET = (): ApicState => ({
  tpr: 0,
  svr: 0xff,
  ldr: 0,
  dfr: 0xffff_ffff,
  esr: 0,
  errors: 0,
  icr: 0,
  icrHigh: 0,
  lvt: Array(6).fill(LVT_MASKED),
  timer: { ...RESET_TIMER },
  irr: Array(8).fill(0),
  isr: Array(8).fill(0),
  sources: {},
});

const isSet = (words: readonly number[], vector: number): boolean =>
  (((words[vector >> 5] ?? 0) >>> (vector & 31)) & 1) !== 0;
const change = (words: number[], vector: number, on: boolean): void => {
  const bit = 1 << (vector & 31);
  const old = words[vector >> 5] ?? 0;
  words[vector >> 5] = (on ? old | bit : old & ~bit) >>> 0;
};
/** The highest vector, or -1. */
const highest = (words: readonly number[]): number => {
  for (let index = 7; index >= 0; index -= 1) {
    const word = words[index] ?? 0;
    if (word !== 0) return index * 32 + 31 - Math.clz32(word);
  }
  return -1;
};

export class LocalApic implements Device<ApicState> {
  readonly id: number;
  readonly #processor: ApicProcessor;
  #state = RESET();

  constructor(id: number, processor: ApicProcessor) {
    this.id = id;
    this.#processor = processor;
  }

  save(): ApicState {
    return structuredClone(this.#state);
  }

  restore(saved: ApicState): void {
    this.#state = structuredClone(saved);
  }

  get isX2(): boolean {
    return (this.#processor.base & BASE_X2APIC) !== 0n;
  }

  /** Enabled in IA32_APIC_BASE: CPUID tells of it. */
  get isThere(): boolean {
    return (this.#processor.base & BASE_ENABLE) !== 0n;
  }

  /** Enabled in IA32_APIC_BASE and not an x2APIC: its registers are in memory. */
  get isInMemory(): boolean {
    return (this.#processor.base & (BASE_ENABLE | BASE_X2APIC)) === BASE_ENABLE;
  }

  get isEnabled(): boolean {
    return (this.#state.svr & SVR_ENABLE) !== 0 && this.isThere;
  }

  /** A write to IA32_APIC_BASE; false: #GP(0). SDM Vol. 3A 10.12.5 "x2APIC State Transitions". */
  setBase(value: bigint): boolean {
    if ((value & ~BASE_DEFINED) !== 0n) return false;
    const isOn = (value & BASE_ENABLE) !== 0n;
    const wasOn = this.isThere;
    if ((value & BASE_X2APIC) !== 0n && !(isOn && wasOn)) return false;
    if (this.isX2 && isOn && (value & BASE_X2APIC) === 0n) return false;
    if (isOn !== wasOn) {
      this.#state = RESET();
      this.#processor.cr8 = 0;
    }
    this.#processor.base = value;
    return true;
  }

  /** A register, or undefined: there is none. */
  read(register: number, nowNs: number): bigint | undefined {
    if (register === REGISTER.ICR && this.isX2) {
      return (BigInt(this.#state.icrHigh) << 32n) | BigInt(this.#state.icr);
    }
    const value = this.#read(register, nowNs);
    return value === undefined ? undefined : BigInt(value >>> 0);
  }

  /** Whether the register takes the value. Reserved bits are refused by an x2APIC, and lost otherwise. */
  write(register: number, value: bigint, nowNs: number): boolean {
    const isX2 = this.isX2;
    const writable = this.#writable(register);
    if (writable === undefined || (isX2 && (value & ~writable) !== 0n)) return false;
    this.#passTime(nowNs);
    if (register === REGISTER.ICR && isX2) this.#state.icrHigh = Number(value >> 32n);
    this.#write(register, Number(value & writable & 0xffff_ffffn), nowNs);
    return true;
  }

  /** The interrupt that the processor would take, but for RFLAGS.IF. */
  get deliverable(): number | undefined {
    const vector = this.#requested;
    return vector === undefined || vector >> 4 <= this.#ppr >> 4 ? undefined : vector;
  }

  /** An interrupt waits until CR8 becomes lower. */
  get waitsForCr8(): boolean {
    const vector = this.#requested;
    if (vector === undefined || this.deliverable !== undefined) return false;
    return vector >> 4 > highest(this.#state.isr) >> 4;
  }

  /** The processor has taken the interrupt: it is in service until EOI. Returns what asked for it. */
  accept(vector: number, nowNs: number): string {
    this.#passTime(nowNs);
    const { irr, isr, sources } = this.#state;
    const source = sources[vector] ?? 'local APIC';
    delete sources[vector];
    change(irr, vector, false);
    change(isr, vector, true);
    return source;
  }

  /** An interrupt by an edge. */
  request(vector: number, source: string): void {
    if (vector < FIRST_VECTOR) {
      this.#fail(ERROR_RECEIVE_ILLEGAL);
      return;
    }
    change(this.#state.irr, vector, true);
    this.#state.sources[vector] = source;
    this.#processor.requested();
  }

  /** Whether an IPI is for this one; shorthands are the sender's to resolve. */
  matches({ to, isX2 }: Ipi): boolean {
    if (typeof to === 'string') return to !== 'self';
    if (to.id === (isX2 ? 0xffff_ffff : 0xff)) return true;
    if (!to.logical) return to.id === this.id;
    const ldr = this.#ldr;
    if (this.isX2) return to.id >>> 16 === ldr >>> 16 && (to.id & ldr & 0xffff) !== 0;
    const own = ldr >>> 24;
    const isFlat = this.#state.dfr >>> 28 === 0xf;
    if (isFlat) return (to.id & own) !== 0;
    return to.id >>> 4 === own >>> 4 && (to.id & own & 0xf) !== 0;
  }

  get nextNs(): number | undefined {
    const entry = this.#lvt(REGISTER.LVT_TIMER);
    const vector = entry & 0xff;
    const isHeard = (entry & LVT_MASKED) === 0 && vector >= FIRST_VECTOR && this.isEnabled;
    // While the interrupt waits already, another changes nothing.
    return isHeard && !isSet(this.#state.irr, vector) ? dueOf(this.#state.timer) : undefined;
  }

  fire(nowNs: number): void {
    this.#passTime(nowNs);
  }

  #passTime(nowNs: number): void {
    if (!passTime(this.#state.timer, nowNs)) return;
    this.#requestLocal(REGISTER.LVT_TIMER, 'local APIC timer');
  }

  #requestLocal(register: number, source: string): void {
    const entry = this.#lvt(register);
    if ((entry & LVT_MASKED) === 0) this.request(entry & 0xff, source);
  }

  #fail(error: number): void {
    if ((this.#state.errors & error) !== 0) return;
    this.#state.errors |= error;
    const entry = this.#lvt(REGISTER.LVT_ERROR);
    // An illegal vector for the error interrupt itself is one error, not one after another.
    if ((entry & 0xff) >= FIRST_VECTOR) this.#requestLocal(REGISTER.LVT_ERROR, 'local APIC error');
  }

  #lvt(register: number): number {
    return this.#state.lvt[register - REGISTER.LVT_TIMER] ?? LVT_MASKED;
  }

  get #requested(): number | undefined {
    const vector = highest(this.#state.irr);
    return vector >= 0 && this.isEnabled ? vector : undefined;
  }

  /** MOV to CR8 clears TPR 3:0. */
  get #tpr(): number {
    const { cr8 } = this.#processor;
    return this.#state.tpr >> 4 === cr8 ? this.#state.tpr : cr8 << 4;
  }

  /** SDM Vol. 3A 10.8.3.1 "Task and Processor Priorities". */
  get #ppr(): number {
    const inService = Math.max(highest(this.#state.isr), 0) & 0xf0;
    const tpr = this.#tpr;
    return (tpr & 0xf0) >= inService ? tpr : inService;
  }

  /** An x2APIC derives it: SDM Vol. 3A 10.12.10.2 "Deriving Logical x2APIC ID from the Local x2APIC ID". */
  get #ldr(): number {
    const { id } = this;
    return this.isX2 ? ((id >>> 4) << 16) | (1 << (id & 15)) : this.#state.ldr;
  }

  #read(register: number, nowNs: number): number | undefined {
    const state = this.#state;
    const word = register & 7;
    const isX2 = this.isX2;
    switch (register & ~7) {
      case REGISTER.ISR:
        return state.isr[word];
      case REGISTER.TMR:
        return 0;
      case REGISTER.IRR:
        this.#passTime(nowNs);
        return state.irr[word];
    }
    switch (register) {
      case REGISTER.ID:
        return isX2 ? this.id : this.id << 24;
      case REGISTER.VERSION:
        return VERSION;
      case REGISTER.TPR:
        return this.#tpr;
      case REGISTER.PPR:
        return this.#ppr;
      case REGISTER.LDR:
        return this.#ldr;
      case REGISTER.DFR:
        return isX2 ? undefined : state.dfr;
      case REGISTER.SVR:
        return state.svr;
      case REGISTER.ESR:
        return state.esr;
      case REGISTER.ICR:
        return state.icr;
      case REGISTER.ICR_HIGH:
        return isX2 ? undefined : state.icrHigh;
      case REGISTER.INITIAL_COUNT:
        return state.timer.initialCount;
      case REGISTER.CURRENT_COUNT:
        this.#passTime(nowNs);
        return countOf(state.timer, nowNs);
      case REGISTER.DIVIDE:
        return state.timer.divideConfiguration;
      default:
        return state.lvt[register - REGISTER.LVT_TIMER];
    }
  }

  /** The bits that may be written; undefined: the register is not there, or read-only. */
  #writable(register: number): bigint | undefined {
    const isX2 = this.isX2;
    switch (register) {
      case REGISTER.TPR:
        return 0xffn;
      case REGISTER.EOI:
      case REGISTER.ESR:
        return 0n;
      case REGISTER.LDR:
        return isX2 ? undefined : 0xff00_0000n;
      case REGISTER.DFR:
        return isX2 ? undefined : 0xf000_0000n;
      case REGISTER.SVR:
        return 0x1ffn;
      case REGISTER.ICR:
        return BigInt(ICR_WRITABLE) | (isX2 ? 0xffff_ffff_0000_0000n : 0n);
      case REGISTER.ICR_HIGH:
        return isX2 ? undefined : 0xff00_0000n;
      case REGISTER.INITIAL_COUNT:
        return 0xffff_ffffn;
      case REGISTER.DIVIDE:
        return 0xbn;
      case REGISTER.SELF_IPI:
        return isX2 ? 0xffn : undefined;
      default: {
        const writable = LVT_WRITABLE[register - REGISTER.LVT_TIMER];
        return writable === undefined ? undefined : BigInt(writable);
      }
    }
  }

  #write(register: number, value: number, nowNs: number): void {
    const state = this.#state;
    switch (register) {
      case REGISTER.TPR:
        state.tpr = value;
        this.#processor.cr8 = value >> 4;
        return;
      case REGISTER.EOI: {
        const vector = highest(state.isr);
        if (vector >= 0) change(state.isr, vector, false);
        return;
      }
      case REGISTER.LDR:
        state.ldr = value;
        return;
      case REGISTER.DFR:
        state.dfr = (value | 0x0fff_ffff) >>> 0;
        return;
      case REGISTER.SVR:
        state.svr = value;
        if ((value & SVR_ENABLE) === 0) state.lvt = state.lvt.map((entry) => entry | LVT_MASKED);
        return;
      case REGISTER.ESR:
        state.esr = state.errors;
        state.errors = 0;
        return;
      case REGISTER.ICR:
        state.icr = value;
        this.#send(value);
        return;
      case REGISTER.ICR_HIGH:
        state.icrHigh = value;
        return;
      case REGISTER.SELF_IPI:
        state.icr = value | (1 << 18);
        this.#send(state.icr);
        return;
      case REGISTER.INITIAL_COUNT:
        startTimer(state.timer, value, nowNs);
        return;
      case REGISTER.DIVIDE:
        divideBy(state.timer, value, nowNs);
        return;
      default:
        this.#writeLvt(register, value);
    }
  }

  /** Software that has disabled the APIC can not unmask an entry. */
  #writeLvt(register: number, value: number): void {
    const isOff = (this.#state.svr & SVR_ENABLE) === 0;
    this.#state.lvt[register - REGISTER.LVT_TIMER] = isOff ? value | LVT_MASKED : value;
    if (register === REGISTER.LVT_TIMER)
      this.#state.timer.isPeriodic = (value & LVT_PERIODIC) !== 0;
  }

  #send(icr: number): void {
    const vector = icr & 0xff;
    const mode = MODES[(icr >> 8) & 7] ?? 'reserved';
    const isX2 = this.isX2;
    const { icrHigh } = this.#state;
    if (mode === 'fixed' && vector < FIRST_VECTOR) {
      this.#fail(ERROR_SEND_ILLEGAL);
      return;
    }
    const logical = (icr & (1 << 11)) !== 0;
    const named = { logical, id: isX2 ? icrHigh : icrHigh >>> 24 };
    const to = ([named, 'self', 'all', 'others'] as const)[(icr >> 18) & 3] ?? named;
    this.#processor.send({ vector, mode, to, isX2 });
  }
}
