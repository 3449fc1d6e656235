/**
 * MOV to CR0 and CR4, CLTS and LMSW exit where they change a bit that the hypervisor owns (all).
 * Qualification: SDM Vol. 3C 27.2.1, Table 27-3; checks: SDM Vol. 3A 2.5 "Control Registers",
 * 9.8.5 "Initializing IA-32e Mode".
 */

import { hostAddressOf } from '../../memory/machine-memory.ts';
import { maddrOfGpa } from '../guest-walk.ts';
import { ENTRY_IA32E_GUEST, FIELD } from '../hardware.ts';
import { pagingOf } from '../hypervisor.ts';
import {
  advance,
  advanceStep,
  type ExitContext,
  type ExitHandler,
  hex,
  injectException,
  readField,
  readGeneral,
  step,
  writeField,
  writeGeneral,
} from './exit.ts';

const CR0_PE = 1n;
const CR0_TS = 8n;
const CR0_ET = 16n;
const CR0_NE = 32n;
const CR0_NW = 1n << 29n;
const CR0_CD = 1n << 30n;
export const CR0_PG = 1n << 31n;
const CR0_DEFINED = 0xe005_003fn;
const CR4_PAE = 1n << 5n;
const CR4_VMXE = 1n << 13n;
/** DE, TSD, PSE, PAE, PGE, PCE, OSFXSR, OSXMMEXCPT, SMEP, SMAP, PVI and VME. */
const CR4_ALLOWED = 0x30_07bfn;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
const GP = 13;

const NAMES = ['MOV to CR', 'MOV from CR', 'CLTS', 'LMSW'] as const;

/** What has to be done besides, or that the value is refused. */
type Verdict = 'refuse' | (() => void);

export const crAccess: ExitHandler = {
  number: 28,
  *handle(context) {
    const { qualification } = context;
    const register = Number(qualification & 15n);
    const type = Number((qualification >> 4n) & 3n);
    const general = Number((qualification >> 8n) & 15n);
    yield step('Decode the qualification', () => `${NAMES[type]}${register}`);
    if (type === 1) {
      writeGeneral(context, general, readField(context, FIELD.GUEST_CR3));
      yield advanceStep(context);
      advance(context);
      return;
    }
    const value = newValue(context, type, general);
    yield step(`Set CR${register}`, () => `to ${hex(value)}, if the processor would allow it`);
    const verdict = register === 0 ? checkCr0(context, value) : checkCr4(context, value);
    if (register !== 0 && register !== 4) {
      writeField(context, FIELD.GUEST_CR3, value);
    } else if (verdict === 'refuse') {
      yield step('Inject #GP(0)', () => `CR${register} may not become ${hex(value)}`);
      injectException(context, GP, 0);
      return;
    } else {
      verdict();
    }
    context.hypervisor.hardware.invalidateTranslations();
    yield advanceStep(context);
    advance(context);
  },
};

const newValue = (context: ExitContext, type: number, general: number): bigint => {
  const cr0 = readField(context, FIELD.CR0_READ_SHADOW);
  if (type === 2) return cr0 & ~CR0_TS;
  if (type === 3) {
    const source = (context.qualification >> 16n) & 0xfn;
    // LMSW can set PE, and can not clear it.
    return (cr0 & ~0xen) | source;
  }
  return readGeneral(context, general);
};

const checkCr0 = (context: ExitContext, value: bigint): Verdict => {
  const old = readField(context, FIELD.CR0_READ_SHADOW);
  const efer = readField(context, FIELD.GUEST_IA32_EFER);
  const cr4 = readField(context, FIELD.GUEST_CR4);
  const turnsOn = (value & CR0_PG) !== 0n && (old & CR0_PG) === 0n;
  const turnsOff = (value & CR0_PG) === 0n && (old & CR0_PG) !== 0n;
  const isCode64 = (readField(context, FIELD.GUEST_ES_ACCESS_RIGHTS + 2) & (1n << 13n)) !== 0n;
  if (value >> 32n !== 0n) return 'refuse';
  if ((value & CR0_PG) !== 0n && (value & CR0_PE) === 0n) return 'refuse';
  if ((value & CR0_NW) !== 0n && (value & CR0_CD) === 0n) return 'refuse';
  const is16BitTask = (readField(context, FIELD.GUEST_ES_ACCESS_RIGHTS + 14) & 8n) === 0n;
  const mayEnterLong = (cr4 & CR4_PAE) !== 0n && !isCode64 && !is16BitTask;
  if (turnsOn && (efer & EFER_LME) !== 0n && !mayEnterLong) return 'refuse';
  if (turnsOff && (efer & EFER_LMA) !== 0n && isCode64) return 'refuse';
  return () => {
    const shadow = (value & CR0_DEFINED) | CR0_ET;
    writeField(context, FIELD.CR0_READ_SHADOW, shadow);
    writeField(context, FIELD.GUEST_CR0, shadow | CR0_NE);
    if (turnsOn && (efer & EFER_LME) !== 0n) setLongMode(context, true);
    if (turnsOff && (efer & EFER_LMA) !== 0n) setLongMode(context, false);
    loadPdptes(context);
  };
};

const checkCr4 = (context: ExitContext, value: bigint): Verdict => {
  const { efer } = pagingOf(context.hypervisor, context.vcpu);
  if ((value & ~CR4_ALLOWED) !== 0n) return 'refuse';
  if ((efer & EFER_LMA) !== 0n && (value & CR4_PAE) === 0n) return 'refuse';
  return () => {
    writeField(context, FIELD.CR4_READ_SHADOW, value);
    writeField(context, FIELD.GUEST_CR4, value | CR4_VMXE);
    loadPdptes(context);
  };
};

const setLongMode = (context: ExitContext, on: boolean): void => {
  const efer = readField(context, FIELD.GUEST_IA32_EFER);
  const controls = readField(context, FIELD.ENTRY_CONTROLS);
  writeField(context, FIELD.GUEST_IA32_EFER, on ? efer | EFER_LMA : efer & ~EFER_LMA);
  writeField(
    context,
    FIELD.ENTRY_CONTROLS,
    on ? controls | ENTRY_IA32E_GUEST : controls & ~ENTRY_IA32E_GUEST,
  );
};

/** PAE paging keeps its four top entries in the VMCS: SDM Vol. 3C 24.4.2. */
const loadPdptes = (context: ExitContext): void => {
  const cr0 = readField(context, FIELD.GUEST_CR0);
  const cr4 = readField(context, FIELD.GUEST_CR4);
  const efer = readField(context, FIELD.GUEST_IA32_EFER);
  if ((cr0 & CR0_PG) === 0n || (cr4 & CR4_PAE) === 0n || (efer & EFER_LMA) !== 0n) return;
  const table = Number(readField(context, FIELD.GUEST_CR3) & 0xffff_ffe0n);
  const { hardware } = context.hypervisor;
  for (let index = 0; index < 4; index += 1) {
    const maddr = maddrOfGpa(context.vcpu.domain.p2m, table + index * 8);
    const entry =
      maddr === undefined ? 0n : hardware.memory.view.getBigUint64(hostAddressOf(maddr), true);
    writeField(context, FIELD.GUEST_PDPTE0 + index * 2, entry);
  }
};
