/**
 * Every operation, by name. What CPUID does not enumerate raises #UD, and so do VMX instructions
 * where they do not exit: no code runs in VMX root operation. CPUID and GETSEC always exit.
 */
import type { OperationName } from '../../../isa/index.ts';
import { raise } from '../cpu.ts';
import { OUTCOME } from '../processor.ts';
import * as far from './far-transfers.ts';
import * as flags from './flags.ts';
import type { Operation } from './operation.ts';
import * as ports from './ports.ts';
import * as queries from './queries.ts';
import * as registers from './registers.ts';
import * as tables from './tables.ts';
import * as transfers from './transfers.ts';

const nothing: Operation = () => OUTCOME.next;
const undefinedOpcode: Operation = (cpu) => raise(cpu, 'UD');

const OPERATIONS: Readonly<Record<OperationName, Operation>> = {
  cpuid: undefinedOpcode,
  hlt: registers.hlt,
  pause: nothing,
  rdtsc: registers.rdtsc,
  rdtscp: registers.rdtscp,
  rdmsr: registers.rdmsr,
  wrmsr: registers.wrmsr,
  readControlRegister: registers.readControlRegister,
  writeControlRegister: registers.writeControlRegister,
  readDebugRegister: registers.readDebugRegister,
  writeDebugRegister: registers.writeDebugRegister,
  clts: registers.clts,
  lmsw: registers.lmsw,
  invlpg: registers.invalidateTranslations,
  invd: registers.flushCaches,
  wbinvd: registers.flushCaches,
  swapgs: registers.swapgs,
  loadDescriptorTable: tables.loadDescriptorTable,
  storeDescriptorTable: tables.storeDescriptorTable,
  loadTaskOrLocalTable: tables.loadTaskOrLocalTable,
  storeTaskOrLocalTable: tables.storeTaskOrLocalTable,
  readSegmentBase: tables.readSegmentBase,
  writeSegmentBase: tables.writeSegmentBase,
  loadSegment: transfers.loadSegment,
  loadFarPointer: transfers.loadFarPointer,
  farJump: far.farJump,
  farCall: far.farCall,
  farReturn: far.farReturn,
  sysenter: far.sysenter,
  sysexit: far.sysexit,
  smsw: queries.smsw,
  verifySegment: queries.verifySegment,
  loadAccessRights: queries.loadAccessRights,
  loadSegmentLimit: queries.loadSegmentLimit,
  bound: queries.bound,
  rdpmc: queries.rdpmc,
  interrupt: transfers.interrupt,
  interruptReturn: transfers.interruptReturn,
  syscall: transfers.syscall,
  sysret: transfers.sysret,
  cli: flags.cli,
  sti: flags.sti,
  pushFlags: flags.pushFlags,
  popFlags: flags.popFlags,
  portIn: ports.portIn,
  portOut: ports.portOut,
  portInString: ports.portInString,
  portOutString: ports.portOutString,
  clac: flags.clac,
  stac: flags.stac,
  invpcid: undefinedOpcode,
  monitor: undefinedOpcode,
  mwait: undefinedOpcode,
  xgetbv: undefinedOpcode,
  xsetbv: undefinedOpcode,
  rsm: undefinedOpcode,
  fxsave: undefinedOpcode,
  fxrstor: undefinedOpcode,
  rdrand: undefinedOpcode,
  rdseed: undefinedOpcode,
  vmcall: undefinedOpcode,
  vmmcall: undefinedOpcode,
  vmfunc: undefinedOpcode,
  vmxon: undefinedOpcode,
  vmxoff: undefinedOpcode,
  vmclear: undefinedOpcode,
  vmptrld: undefinedOpcode,
  vmptrst: undefinedOpcode,
  vmread: undefinedOpcode,
  vmwrite: undefinedOpcode,
  vmlaunch: undefinedOpcode,
  vmresume: undefinedOpcode,
  invept: undefinedOpcode,
  invvpid: undefinedOpcode,
  getsec: undefinedOpcode,
};

export const operationOf = (name: OperationName): Operation => OPERATIONS[name];
