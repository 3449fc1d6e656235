/**
 * MOV to CR0 and CR4, CLTS and LMSW exit where they change a bit that the hypervisor owns (all);
 * MOV to and from CR3 exit under shadow paging, MOV to CR8 while an interrupt waits for it. Qualification: SDM Vol. 3C 27.2.1, Table 27-3;
 * checks: SDM Vol. 3A 2.5 "Control Registers", 9.8.5 "Initializing IA-32e Mode".
 */
import { CODE_WIDTH, CR8 } from '../../cpu/state.ts';
import {
  type ControlRegisters,
  CR0_PG,
  CR4_PAE,
  canRun,
  EFER_LMA,
  EFER_LME,
  readControl,
  writeControl,
} from '../guest-control.ts';
import { CR8_LOAD_EXITING, FIELD } from '../hardware.ts';
import { endDomain } from '../hypervisor.ts';
import {
  advance,
  advanceStep,
  type ExitContext,
  type ExitHandler,
  type ExitSteps,
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
const CR0_NW = 1n << 29n;
const CR0_CD = 1n << 30n;
const CR0_DEFINED = 0xe005_003fn;
/** DE, TSD, PSE, PAE, PGE, PCE, OSFXSR, OSXMMEXCPT, SMEP, SMAP, PVI and VME. */
const CR4_ALLOWED = 0x30_07bfn;
const CR3_ADDRESS = 0x0000_3fff_ffff_f018n;
const GP = 13;

const NAMES = ['MOV to CR', 'MOV from CR', 'CLTS', 'LMSW'] as const;

export const crAccess: ExitHandler = {
  number: 28,
  *handle(context) {
    const { hypervisor, vcpu, qualification } = context;
    const register = Number(qualification & 15n);
    const type = Number((qualification >> 4n) & 3n);
    const general = Number((qualification >> 8n) & 15n);
    yield step('Decode the qualification', () => `${NAMES[type]}${register}`);
    if (register === 8) {
      yield* lowerPriority(context, readGeneral(context, general));
      return;
    }
    const old = readControl(hypervisor, vcpu);
    if (type === 1) {
      yield step('Read CR3', () => `${hex(old.cr3)}: the guest's own, not the root of the shadow`);
      writeGeneral(context, general, old.cr3);
      yield advanceStep(context);
      advance(context);
      return;
    }
    const value = newValue(context, old, type, general);
    yield step(`Set CR${register}`, () => `to ${hex(value)}, if the processor would allow it`);
    const next = nextControl(context, old, register, value);
    if (next !== 'refuse' && !canRun(vcpu, next.cr0)) {
      yield step('End the domain', () => 'real mode needs an unrestricted guest, and that EPT');
      endDomain(
        hypervisor,
        vcpu,
        'crash',
        `vCPU ${vcpu.id} of domain ${vcpu.domain.id} went to real mode, which a domain with "hap" off can not run in.`,
      );
      return;
    }
    if (next === 'refuse' || writeControl(hypervisor, vcpu, next, register === 3) === 'refuse') {
      yield step('Inject #GP(0)', () => `CR${register} may not become ${hex(value)}`);
      injectException(context, GP, 0);
      return;
    }
    yield advanceStep(context);
    advance(context);
  },
};

/** An interrupt has waited for CR8 to become lower; VM entry injects it if it has. */
function* lowerPriority(context: ExitContext, value: bigint): ExitSteps {
  const { hypervisor, vcpu } = context;
  yield step('Set CR8', () => `to ${hex(value)}: the task priority of the local APIC`);
  if (value > 15n) {
    injectException(context, GP, 0);
    return;
  }
  const controls = readField(context, FIELD.PRIMARY_CONTROLS);
  writeField(context, FIELD.PRIMARY_CONTROLS, controls & ~CR8_LOAD_EXITING);
  hypervisor.hardware.setSlot(vcpu, CR8, value);
  yield advanceStep(context);
  advance(context);
}

const newValue = (
  context: ExitContext,
  { cr0 }: ControlRegisters,
  type: number,
  general: number,
): bigint => {
  if (type === 2) return cr0 & ~CR0_TS;
  if (type === 3) {
    const source = (context.qualification >> 16n) & 0xfn;
    // LMSW can set PE, and can not clear it.
    return (cr0 & ~0xen) | source;
  }
  return readGeneral(context, general);
};

/** All registers as they are to be; 'refuse': #GP(0). */
const nextControl = (
  context: ExitContext,
  old: ControlRegisters,
  register: number,
  value: bigint,
): ControlRegisters | 'refuse' => {
  switch (register) {
    case 0:
      return nextForCr0(context, old, value);
    case 3:
      return nextForCr3(context, old, value);
    default: {
      const isLong = (old.efer & EFER_LMA) !== 0n;
      if ((value & ~CR4_ALLOWED) !== 0n || (isLong && (value & CR4_PAE) === 0n)) return 'refuse';
      return { ...old, cr4: value };
    }
  }
};

const nextForCr0 = (
  context: ExitContext,
  old: ControlRegisters,
  value: bigint,
): ControlRegisters | 'refuse' => {
  const { efer, cr4 } = old;
  const turnsOn = (value & CR0_PG) !== 0n && (old.cr0 & CR0_PG) === 0n;
  const turnsOff = (value & CR0_PG) === 0n && (old.cr0 & CR0_PG) !== 0n;
  const isCode64 = (readField(context, FIELD.GUEST_ES_ACCESS_RIGHTS + 2) & (1n << 13n)) !== 0n;
  if (value >> 32n !== 0n) return 'refuse';
  if ((value & CR0_PG) !== 0n && (value & CR0_PE) === 0n) return 'refuse';
  if ((value & CR0_NW) !== 0n && (value & CR0_CD) === 0n) return 'refuse';
  const is16BitTask = (readField(context, FIELD.GUEST_ES_ACCESS_RIGHTS + 14) & 8n) === 0n;
  const mayEnterLong = (cr4 & CR4_PAE) !== 0n && !isCode64 && !is16BitTask;
  if (turnsOn && (efer & EFER_LME) !== 0n && !mayEnterLong) return 'refuse';
  if (turnsOff && (efer & EFER_LMA) !== 0n && isCode64) return 'refuse';
  const isEntered = turnsOn && (efer & EFER_LME) !== 0n;
  const nextEfer = isEntered ? efer | EFER_LMA : turnsOff ? efer & ~EFER_LMA : efer;
  return { ...old, cr0: (value & CR0_DEFINED) | CR0_ET, efer: nextEfer };
};

/** Bits beyond the physical-address width are #GP in 64-bit mode; there is no PCID. */
const nextForCr3 = (
  { hypervisor, vcpu }: ExitContext,
  old: ControlRegisters,
  value: bigint,
): ControlRegisters | 'refuse' => {
  const is64Bit = (hypervisor.hardware.slot(vcpu, CODE_WIDTH) & 0xffff_ffffn) === 64n;
  if (is64Bit && value >> 46n !== 0n) return 'refuse';
  const isLong = (old.efer & EFER_LMA) !== 0n;
  return { ...old, cr3: isLong ? value & CR3_ADDRESS : value & 0xffff_fff8n };
};
