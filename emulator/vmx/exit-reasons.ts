/** The basic exit reasons: SDM Vol. 3D Appendix C "VMX Basic Exit Reasons". */
const NAMES: readonly (readonly [number, string, string])[] = [
  [0, 'EXCEPTION_OR_NMI', 'Exception or non-maskable interrupt'],
  [1, 'EXTERNAL_INTERRUPT', 'External interrupt'],
  [2, 'TRIPLE_FAULT', 'Triple fault'],
  [3, 'INIT', 'INIT signal'],
  [4, 'SIPI', 'Start-up IPI'],
  [5, 'IO_SMI', 'I/O system-management interrupt'],
  [6, 'OTHER_SMI', 'Other SMI'],
  [7, 'INTERRUPT_WINDOW', 'Interrupt window'],
  [8, 'NMI_WINDOW', 'NMI window'],
  [9, 'TASK_SWITCH', 'Task switch'],
  [10, 'CPUID', 'CPUID'],
  [11, 'GETSEC', 'GETSEC'],
  [12, 'HLT', 'HLT'],
  [13, 'INVD', 'INVD'],
  [14, 'INVLPG', 'INVLPG'],
  [15, 'RDPMC', 'RDPMC'],
  [16, 'RDTSC', 'RDTSC'],
  [17, 'RSM', 'RSM'],
  [18, 'VMCALL', 'VMCALL'],
  [19, 'VMCLEAR', 'VMCLEAR'],
  [20, 'VMLAUNCH', 'VMLAUNCH'],
  [21, 'VMPTRLD', 'VMPTRLD'],
  [22, 'VMPTRST', 'VMPTRST'],
  [23, 'VMREAD', 'VMREAD'],
  [24, 'VMRESUME', 'VMRESUME'],
  [25, 'VMWRITE', 'VMWRITE'],
  [26, 'VMXOFF', 'VMXOFF'],
  [27, 'VMXON', 'VMXON'],
  [28, 'CR_ACCESS', 'Control-register accesses'],
  [29, 'DR_ACCESS', 'MOV DR'],
  [30, 'IO_INSTRUCTION', 'I/O instruction'],
  [31, 'RDMSR', 'RDMSR'],
  [32, 'WRMSR', 'WRMSR'],
  [33, 'ENTRY_FAILURE_GUEST_STATE', 'VM-entry failure due to invalid guest state'],
  [34, 'ENTRY_FAILURE_MSR_LOADING', 'VM-entry failure due to MSR loading'],
  [36, 'MWAIT', 'MWAIT'],
  [37, 'MONITOR_TRAP_FLAG', 'Monitor trap flag'],
  [39, 'MONITOR', 'MONITOR'],
  [40, 'PAUSE', 'PAUSE'],
  [41, 'ENTRY_FAILURE_MACHINE_CHECK', 'VM-entry failure due to machine-check event'],
  [43, 'TPR_BELOW_THRESHOLD', 'TPR below threshold'],
  [44, 'APIC_ACCESS', 'APIC access'],
  [45, 'VIRTUALIZED_EOI', 'Virtualized EOI'],
  [46, 'GDTR_IDTR_ACCESS', 'Access to GDTR or IDTR'],
  [47, 'LDTR_TR_ACCESS', 'Access to LDTR or TR'],
  [48, 'EPT_VIOLATION', 'EPT violation'],
  [49, 'EPT_MISCONFIGURATION', 'EPT misconfiguration'],
  [50, 'INVEPT', 'INVEPT'],
  [51, 'RDTSCP', 'RDTSCP'],
  [52, 'PREEMPTION_TIMER', 'VMX-preemption timer expired'],
  [53, 'INVVPID', 'INVVPID'],
  [54, 'WBINVD', 'WBINVD or WBNOINVD'],
  [55, 'XSETBV', 'XSETBV'],
  [56, 'APIC_WRITE', 'APIC write'],
  [57, 'RDRAND', 'RDRAND'],
  [58, 'INVPCID', 'INVPCID'],
  [59, 'VMFUNC', 'VMFUNC'],
  [60, 'ENCLS', 'ENCLS'],
  [61, 'RDSEED', 'RDSEED'],
  [62, 'PML_FULL', 'Page-modification log full'],
  [63, 'XSAVES', 'XSAVES'],
  [64, 'XRSTORS', 'XRSTORS'],
];

export interface ExitReason {
  readonly number: number;
  readonly name: string;
  readonly title: string;
}

export const EXIT_REASONS: readonly ExitReason[] = NAMES.map(([number, name, title]) => ({
  number,
  name,
  title,
}));

const byNumber = new Map(EXIT_REASONS.map((reason) => [reason.number, reason]));
const byName = new Map(EXIT_REASONS.map((reason) => [reason.name, reason]));

/** The reason with this basic number; undefined for reserved numbers. */
export const exitReasonOf = (number: number): ExitReason | undefined =>
  byNumber.get(number & 0xffff);

/** The basic number of a reason that is in the table. */
export const exitReasonNumber = (name: string): number => {
  const reason = byName.get(name);
  if (reason === undefined) throw new Error(`There is no exit reason ${name}.`);
  return reason.number;
};
