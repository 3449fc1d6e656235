/**
 * What VM entry loads beyond the guest state that the window holds already: IA32_EFER and the PDPTE
 * registers where the controls do not take them from the guest-state area.
 * Source: SDM Vol. 3C 26.3.2.1 "Loading Guest Control Registers, Debug Registers, and MSRs",
 * 26.3.2.4 "Loading Page-Directory-Pointer-Table Entries".
 */
import { type Cpu, quad, setQuad } from '../cpu/cpu.ts';
import { loadPointers } from '../cpu/operations/registers.ts';
import * as state from '../cpu/state.ts';
import type { VmcsAccess } from './vmcs-access.ts';

const CR0_PG = 1n << 31n;
const EFER_LME = 0x100n;
const EFER_LMA = 0x400n;

/** False if the page-directory pointers in memory have reserved bits set. */
export const loadGuestState = (cpu: Cpu, { has }: VmcsAccess): boolean => {
  const cr0 = quad(cpu, state.CR0);
  if (!has('load IA32_EFER')) {
    const changed = EFER_LMA | ((cr0 & CR0_PG) === 0n ? 0n : EFER_LME);
    const other = quad(cpu, state.EFER) & ~changed;
    setQuad(cpu, state.EFER, has('IA-32e mode guest') ? other | changed : other);
  }
  return (
    has('enable EPT') || loadPointers(cpu, cr0, quad(cpu, state.CR3), quad(cpu, state.CR4)) === true
  );
};
