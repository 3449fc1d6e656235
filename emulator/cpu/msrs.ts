/** The model-specific registers that the processor has: SDM Vol. 4, chapter 2. */
import { type Cpu, quad, setQuad } from './cpu.ts';
import * as state from './state.ts';

export interface Msr {
  readonly name: string;
  read(cpu: Cpu): bigint;
  /** False for a value that is not allowed: #GP(0). Absent: read-only. */
  write?(cpu: Cpu, value: bigint): boolean;
}

const isCanonical = (value: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;

const kept = (name: string, slot: number, isAllowed?: (value: bigint) => boolean): Msr => ({
  name,
  read: (cpu) => quad(cpu, slot),
  write: (cpu, value) => {
    if (isAllowed?.(value) === false) return false;
    setQuad(cpu, slot, value);
    return true;
  },
});

const EFER_SCE = 1n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
const EFER_NXE = 1n << 11n;
const CR0_PG = 1n << 31n;

/** Whether IA32_PAT takes a value: memory types 0, 1 and 4 to 7 in each byte. */
export const isPat = (value: bigint): boolean => {
  for (let rest = value; rest !== 0n; rest >>= 8n) {
    const type = Number(rest & 0xffn);
    if (type > 7 || type === 2 || type === 3) return false;
  }
  return true;
};

const efer: Msr = {
  name: 'IA32_EFER',
  read: (cpu) => quad(cpu, state.EFER),
  write: (cpu, value) => {
    const old = quad(cpu, state.EFER);
    const changesLong = ((old ^ value) & EFER_LME) !== 0n;
    const isPaging = (quad(cpu, state.CR0) & CR0_PG) !== 0n;
    if ((value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) !== 0n) return false;
    if (changesLong && isPaging) return false;
    setQuad(cpu, state.EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
    return true;
  },
};

/** What the guest reads: scaled and offset as the VMCS says, SDM Vol. 3C 25.3, RDTSC. */
export const readTimeStamp = (cpu: Cpu): bigint => {
  const value = BigInt.asUintN(64, cpu.timeStamp() + quad(cpu, state.TSC_OFFSET));
  return cpu.nonRoot?.guestTimeStamp?.(value) ?? value;
};

const timeStamp: Msr = {
  name: 'IA32_TIME_STAMP_COUNTER',
  read: readTimeStamp,
  write: (cpu, value) => {
    setQuad(cpu, state.TSC_OFFSET, BigInt.asUintN(64, value - cpu.timeStamp()));
    return true;
  },
};

const MSRS: ReadonlyMap<number, Msr> = new Map<number, Msr>([
  [0x10, timeStamp],
  [0x1b, kept('IA32_APIC_BASE', state.APIC_BASE)],
  [0x3a, kept('IA32_FEATURE_CONTROL', state.FEATURE_CONTROL)],
  [0x174, kept('IA32_SYSENTER_CS', state.SYSENTER_CS)],
  [0x175, kept('IA32_SYSENTER_ESP', state.SYSENTER_ESP, isCanonical)],
  [0x176, kept('IA32_SYSENTER_EIP', state.SYSENTER_EIP, isCanonical)],
  [0x1a0, kept('IA32_MISC_ENABLE', state.MISC_ENABLE)],
  [0x1d9, kept('IA32_DEBUGCTL', state.DEBUGCTL)],
  [0x277, kept('IA32_PAT', state.PAT, isPat)],
  [0xc000_0080, efer],
  [0xc000_0081, kept('IA32_STAR', state.STAR)],
  [0xc000_0082, kept('IA32_LSTAR', state.LSTAR, isCanonical)],
  [0xc000_0083, kept('IA32_CSTAR', state.CSTAR, isCanonical)],
  [0xc000_0084, kept('IA32_FMASK', state.SFMASK, (value) => value >> 32n === 0n)],
  [0xc000_0100, kept('IA32_FS_BASE', state.segmentBase(state.FS), isCanonical)],
  [0xc000_0101, kept('IA32_GS_BASE', state.segmentBase(state.GS), isCanonical)],
  [0xc000_0102, kept('IA32_KERNEL_GS_BASE', state.KERNEL_GS_BASE, isCanonical)],
  [0xc000_0103, kept('IA32_TSC_AUX', state.TSC_AUX, (value) => value >> 32n === 0n)],
]);

/** The register with this number; undefined if the processor has none: #GP(0). */
export const msrOf = (number: number): Msr | undefined => MSRS.get(number);
