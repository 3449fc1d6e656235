/**
 * The named bits of registers.
 * Sources: SDM Vol. 1 3.4.3 "EFLAGS Register"; Vol. 3A 2.5 "Control Registers"; 2.2.1 "Extended
 * Feature Enable Register"; Vol. 3B 17.2 "Debug Registers".
 */
export interface BitField {
  readonly name: string;
  readonly title: string;
  readonly first: number;
  readonly last: number;
}

const bit = (position: number, name: string, title: string): BitField => ({
  name,
  title,
  first: position,
  last: position,
});

export const REGISTER_BITS: Readonly<Record<string, readonly BitField[]>> = {
  rflags: [
    bit(0, 'CF', 'Carry flag'),
    bit(2, 'PF', 'Parity flag'),
    bit(4, 'AF', 'Auxiliary carry flag'),
    bit(6, 'ZF', 'Zero flag'),
    bit(7, 'SF', 'Sign flag'),
    bit(8, 'TF', 'Trap flag'),
    bit(9, 'IF', 'Interrupt enable flag'),
    bit(10, 'DF', 'Direction flag'),
    bit(11, 'OF', 'Overflow flag'),
    { name: 'IOPL', title: 'I/O privilege level', first: 12, last: 13 },
    bit(14, 'NT', 'Nested task flag'),
    bit(16, 'RF', 'Resume flag'),
    bit(17, 'VM', 'Virtual-8086 mode flag'),
    bit(18, 'AC', 'Alignment check flag'),
    bit(19, 'VIF', 'Virtual interrupt flag'),
    bit(20, 'VIP', 'Virtual interrupt pending flag'),
    bit(21, 'ID', 'Identification flag'),
  ],
  cr0: [
    bit(0, 'PE', 'Protection enable'),
    bit(1, 'MP', 'Monitor coprocessor'),
    bit(2, 'EM', 'Emulation'),
    bit(3, 'TS', 'Task switched'),
    bit(4, 'ET', 'Extension type'),
    bit(5, 'NE', 'Numeric error'),
    bit(16, 'WP', 'Write protect'),
    bit(18, 'AM', 'Alignment mask'),
    bit(29, 'NW', 'Not write-through'),
    bit(30, 'CD', 'Cache disable'),
    bit(31, 'PG', 'Paging'),
  ],
  cr4: [
    bit(0, 'VME', 'Virtual-8086 mode extensions'),
    bit(1, 'PVI', 'Protected-mode virtual interrupts'),
    bit(2, 'TSD', 'Time stamp disable'),
    bit(3, 'DE', 'Debugging extensions'),
    bit(4, 'PSE', 'Page size extensions'),
    bit(5, 'PAE', 'Physical address extension'),
    bit(6, 'MCE', 'Machine-check enable'),
    bit(7, 'PGE', 'Page global enable'),
    bit(8, 'PCE', 'Performance-monitoring counter enable'),
    bit(9, 'OSFXSR', 'Operating system support for FXSAVE and FXRSTOR'),
    bit(10, 'OSXMMEXCPT', 'Operating system support for unmasked SIMD exceptions'),
    bit(11, 'UMIP', 'User-mode instruction prevention'),
    bit(12, 'LA57', '57-bit linear addresses'),
    bit(13, 'VMXE', 'VMX enable'),
    bit(16, 'FSGSBASE', 'RDFSBASE and its like enable'),
    bit(17, 'PCIDE', 'PCID enable'),
    bit(18, 'OSXSAVE', 'XSAVE enable'),
    bit(20, 'SMEP', 'Supervisor-mode execution prevention'),
    bit(21, 'SMAP', 'Supervisor-mode access prevention'),
    bit(22, 'PKE', 'Protection keys enable'),
  ],
  efer: [
    bit(0, 'SCE', 'SYSCALL enable'),
    bit(8, 'LME', 'IA-32e mode enable'),
    bit(10, 'LMA', 'IA-32e mode active'),
    bit(11, 'NXE', 'Execute-disable bit enable'),
  ],
  dr6: [
    bit(0, 'B0', 'Breakpoint 0 detected'),
    bit(1, 'B1', 'Breakpoint 1 detected'),
    bit(2, 'B2', 'Breakpoint 2 detected'),
    bit(3, 'B3', 'Breakpoint 3 detected'),
    bit(13, 'BD', 'Debug register access detected'),
    bit(14, 'BS', 'Single step'),
    bit(15, 'BT', 'Task switch'),
  ],
};

export const readBits = (value: bigint, { first, last }: BitField): bigint =>
  BigInt.asUintN(last - first + 1, value >> BigInt(first));

export const writeBits = (value: bigint, { first, last }: BitField, bits: bigint): bigint => {
  const mask = ((1n << BigInt(last - first + 1)) - 1n) << BigInt(first);
  return (value & ~mask) | ((bits << BigInt(first)) & mask);
};

/** The bits that are set: 'PE PG WP', 'IOPL=3'. */
export const setBits = (value: bigint, fields: readonly BitField[]): string =>
  fields
    .filter((field) => readBits(value, field) !== 0n)
    .map((field) =>
      field.first === field.last ? field.name : `${field.name}=${readBits(value, field)}`,
    )
    .join(' ');
