/**
 * The named operations and the arguments that meanings pass to them, in order, all 64 bits wide.
 *
 * `register` is a general register's number, or MEMORY_DESTINATION: then the operand is at
 * `segment:offset`. Widths are in bits. Operations read and write everything else
 * (EAX, ECX, ...) themselves.
 */
import type { OperationName } from './semantics.ts';

export const MEMORY_DESTINATION = 0xff;

/** Kinds of the operation `interrupt`. */
export const INTERRUPT_KIND = { int: 0, int3: 1, into: 2, int1: 3 } as const;

export const OPERATION_ARGUMENTS: Readonly<Record<OperationName, readonly string[]>> = {
  cpuid: [],
  hlt: [],
  pause: [],
  rdtsc: [],
  rdtscp: [],
  rdpmc: [],
  rdmsr: [],
  wrmsr: [],
  readControlRegister: ['number', 'register'],
  /** register: where the value came from, which VM exits tell. */
  writeControlRegister: ['number', 'value', 'register'],
  readDebugRegister: ['number', 'register'],
  writeDebugRegister: ['number', 'value', 'register'],
  clts: [],
  /** register: MEMORY_DESTINATION if the source is in memory. */
  lmsw: ['register', 'segment', 'offset'],
  smsw: ['register', 'segment', 'offset', 'width'],
  invlpg: ['segment', 'offset'],
  invpcid: ['type', 'segment', 'offset'],
  invd: [],
  wbinvd: [],
  /** table: 0 GDTR, 1 IDTR. */
  loadDescriptorTable: ['table', 'segment', 'offset', 'width'],
  storeDescriptorTable: ['table', 'segment', 'offset', 'width'],
  /** table: 0 LDTR, 1 TR. */
  loadTaskOrLocalTable: ['table', 'register', 'segment', 'offset'],
  storeTaskOrLocalTable: ['table', 'register', 'segment', 'offset', 'width'],
  /** write: 0 VERR, 1 VERW. Sets ZF. */
  verifySegment: ['write', 'selector'],
  loadAccessRights: ['register', 'selector', 'width'],
  loadSegmentLimit: ['register', 'selector', 'width'],
  /** stackBytes: what POP adds to the stack pointer once the load has succeeded; 0 for MOV. */
  loadSegment: ['number', 'selector', 'stackBytes'],
  loadFarPointer: ['number', 'selector', 'register', 'value', 'width'],
  farJump: ['selector', 'offset', 'width'],
  farCall: ['selector', 'offset', 'width'],
  farReturn: ['bytesToRelease', 'width'],
  interrupt: ['vector', 'kind'],
  interruptReturn: ['width'],
  syscall: [],
  sysret: ['width'],
  sysenter: [],
  sysexit: ['width'],
  cli: [],
  sti: [],
  pushFlags: ['width'],
  popFlags: ['width'],
  clac: [],
  stac: [],
  swapgs: [],
  /** number: 4 FS, 5 GS. */
  readSegmentBase: ['number', 'register', 'width'],
  writeSegmentBase: ['number', 'value'],
  portIn: ['port', 'width'],
  portOut: ['port', 'width'],
  /**
   * repeat: 0 none, 1 REP. The operation does one iteration and updates rDI and rCX; its outcome is
   * `jumped`, with RIP unchanged, if more are to come.
   */
  portInString: ['width', 'addressWidth', 'repeat'],
  portOutString: ['width', 'addressWidth', 'repeat', 'segment'],
  monitor: ['segment', 'offset'],
  mwait: [],
  xgetbv: [],
  xsetbv: [],
  rsm: [],
  fxsave: ['segment', 'offset', 'width'],
  fxrstor: ['segment', 'offset', 'width'],
  vmcall: [],
  vmmcall: [],
  vmfunc: [],
  vmxon: ['segment', 'offset'],
  vmxoff: [],
  vmclear: ['segment', 'offset'],
  vmptrld: ['segment', 'offset'],
  vmptrst: ['segment', 'offset'],
  vmread: ['field', 'register', 'segment', 'offset', 'width'],
  vmwrite: ['field', 'value'],
  vmlaunch: [],
  vmresume: [],
  invept: ['type', 'segment', 'offset'],
  invvpid: ['type', 'segment', 'offset'],
  bound: ['index', 'segment', 'offset', 'width'],
  rdrand: ['register', 'width'],
  rdseed: ['register', 'width'],
  getsec: [],
};

/** All names in the order of their numbers. */
export const OPERATIONS = Object.keys(OPERATION_ARGUMENTS) as readonly OperationName[];
