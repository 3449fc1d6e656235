/**
 * Where every piece of processor state lives in the machine's one WebAssembly memory.
 *
 *   0x0000_1000  the window: state of the vCPU that runs now, at constant addresses
 *   0x0000_4000  scratch
 *   0x0001_0000  block hash       0x0005_0000  reserved for compiled code's hash
 *   0x0006_0000  TLB-R, TLB-W, TLB-X
 *   0x0010_0000  page flags, one byte for each machine page
 *   0x0020_0000  what engines remember of translations (interpreter/translation-tables.ts)
 *   0x0100_0000  decoded records
 *   0x0400_0000  RAM: machine address 0
 *
 * A vCPU that does not run keeps a copy of the window; switching copies WINDOW_BYTES.
 */

export const WINDOW = 0x1000;
export const WINDOW_BYTES = 0x1000;
export const SCRATCH = 0x4000;
export const BLOCK_HASH = 0x1_0000;
export const BLOCK_HASH_ENTRIES = 16_384;
export const COMPILED_HASH = 0x5_0000;
export const TLB_READ = 0x6_0000;
export const TLB_ENTRIES = 1024;
export const TLB_ENTRY_BYTES = 16;
export const TLB_WRITE = TLB_READ + TLB_ENTRIES * TLB_ENTRY_BYTES;
export const TLB_EXECUTE = TLB_WRITE + TLB_ENTRIES * TLB_ENTRY_BYTES;
export const TLB_EXECUTE_ENTRIES = 256;
export const PAGE_FLAGS = 0x10_0000;
export const TLB_SECOND = 0x20_0000;
export const TLB_SECOND_ENTRIES = 0x1_0000;
export const STAGE = 0x30_0000;
export const STAGE_ENTRIES = 0x4000;
export const LAST_TABLES = 0x34_0000;
export const LAST_TABLES_ENTRIES = 512;
/** i32 for each machine page. */
export const TABLE_REGIONS = 0x40_0000;
export const LEADING = 0x80_0000;
export const RECORDS = 0x100_0000;
export const RECORDS_END = 0x400_0000;
/** Host address of machine address 0. */
export const RAM = 0x400_0000;

let next = WINDOW;
const place = (bytes: number): number => {
  const at = next;
  next += bytes;
  return at;
};

/**
 * The window. All slots are 8 bytes and 8-byte aligned unless said otherwise, so that 64-bit
 * state can be read as two halves. Guest-state fields of the VMCS keep the VMCS's order.
 */
export const GENERAL_REGISTERS = place(16 * 8);
/** Always zero: the slot of "no base" and "no index". */
export const ZERO = place(8);
/** The status words, see isa/flags.ts. */
export const FLAG_RESULT = place(8);
export const FLAG_SIGN = place(8);
export const FLAG_CARRY = place(8);
/** RIP of the instruction to execute next; inside a block it is stale, see LAST_RECORD. */
export const RIP = place(8);
/** Virtual address of the page that the running block is in. */
export const RIP_PAGE = place(8);
/** i32: instructions left. */
export const BUDGET = place(4);
/** i32: why generated code was left, a LEAVE_ constant of engine. */
export const LEAVE_REASON = place(4);
/** i32: the decoded record that left. */
export const LAST_RECORD = place(4);
/** i32: index of the operation asked for (LEAVE_OPERATION). */
export const OPERATION = place(4);
/** Arguments of an operation, 64 bits each. */
export const ARGUMENTS = place(6 * 8);
/** OR-ed into TLB tags: address-space id and privilege; written by cpu/tlb.ts alone. */
export const TLB_CONTEXT = place(8);
/** OR-ed into block-hash keys: mode, privilege, code size, address space. */
export const CODE_CONTEXT = place(8);
/** RFLAGS without the six status flags; bit 1 is set. */
export const RFLAGS_REST = place(8);
export const RFLAGS_REST_MASK = 0xffff_ffff & ~0x8d5;

/** A pending fault: i32 vector, i32 error code, i32 flags (see cpu/exceptions.ts), i32 unused. */
export const FAULT_VECTOR = place(4);
export const FAULT_ERROR = place(4);
export const FAULT_FLAGS = place(4);
export const FAULT_UNUSED = place(4);
/** The address that becomes CR2 when a #PF is delivered. */
export const FAULT_ADDRESS = place(8);

/** Segment i: selector, base, limit, access rights in the VMCS's format; 8 bytes each. */
export const SEGMENTS = place(8 * 32);
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;
export const LDTR = 6;
export const TR = 7;
export const segmentSelector = (segment: number): number => SEGMENTS + segment * 32;
export const segmentBase = (segment: number): number => SEGMENTS + segment * 32 + 8;
export const segmentLimit = (segment: number): number => SEGMENTS + segment * 32 + 16;
export const segmentAccess = (segment: number): number => SEGMENTS + segment * 32 + 24;
export const GDTR_BASE = place(8);
export const GDTR_LIMIT = place(8);
export const IDTR_BASE = place(8);
export const IDTR_LIMIT = place(8);
export const CR0 = place(8);
export const CR3 = place(8);
export const CR4 = place(8);
export const DR7 = place(8);
export const EFER = place(8);
export const PAT = place(8);
export const SYSENTER_CS = place(8);
export const SYSENTER_ESP = place(8);
export const SYSENTER_EIP = place(8);
export const DEBUGCTL = place(8);
/** Blocking by STI (bit 0), MOV SS (1), SMI (2), NMI (3); SDM Vol. 3C 24.4.2, Table 24-3. */
export const INTERRUPTIBILITY = place(8);
/** 0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI; SDM Vol. 3C 24.4.2. */
export const ACTIVITY = place(8);
export const PENDING_DEBUG = place(8);
export const PDPTES = place(4 * 8);
/** Not in the VMCS. */
export const CR2 = place(8);
export const CR8 = place(8);
export const XCR0 = place(8);
export const DEBUG_REGISTERS = place(4 * 8);
export const DR6 = place(8);
export const STAR = place(8);
export const LSTAR = place(8);
export const CSTAR = place(8);
export const SFMASK = place(8);
export const KERNEL_GS_BASE = place(8);
export const TSC_AUX = place(8);
export const APIC_BASE = place(8);
export const MISC_ENABLE = place(8);
export const FEATURE_CONTROL = place(8);
export const TSC_OFFSET = place(8);
/** i32: current privilege level, 0 to 3. */
export const CPL = place(4);
/** i32: 16, 32 or 64: the code size of the running mode. */
export const CODE_WIDTH = place(4);
/** i32: 0 outside VMX operation, 1 root, 2 non-root. */
export const VMX_MODE = place(4);
/** i32: non-zero if the processor wants a look before the next instruction, see processor.ts. */
export const ATTENTION = place(4);
/** Machine address of the current VMCS, -1 if none; and of the VMXON region. */
export const CURRENT_VMCS = place(8);
export const VMXON_REGION = place(8);
/** Time-stamp counter value at the end of the budget; TSC now = this - BUDGET. */
export const TSC_AT_BUDGET_END = place(8);
export const MXCSR = place(8);
export const X87_ENVIRONMENT = place(8 * 8);
next = (next + 15) & ~15;
/** 16 bytes each. */
export const XMM = place(16 * 16);
/** x87/MMX registers, 16 bytes each. */
export const ST = place(8 * 16);
/** Engines' own. i32: non-zero if INVLPG is not done by generated code: it may make a VM exit. */
export const INVLPG_LEAVES = place(4);
/** i32: non-zero if nobody watches memory: generated code may walk. */
export const MAY_FILL = place(4);
/** i32: bits of MAY_GO_ON: what generated code may do without leaving. */
export const GOES_ON = place(4);
export const MAY_GO_ON = { interruptReturn: 1, pageFault: 2 } as const;
/** i32: page faults that generated code has delivered. */
export const DELIVERIES = place(4);
/** i32: OR-ed into the keys of STAGE. */
export const STAGE_CONTEXT = place(8);

export const WINDOW_END = next;
export const registerSlot = (register: number): number => GENERAL_REGISTERS + register * 8;
