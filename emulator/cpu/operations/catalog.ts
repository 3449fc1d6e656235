/**
 * The operations that the processor has. What is not here raises #UD, as on a processor that does
 * not enumerate the feature; VMX instructions do so outside VMX operation.
 */
import type { OperationName } from '../../../isa/index.ts';
import { raise } from '../cpu.ts';
import { OUTCOME } from '../processor.ts';
import * as flags from './flags.ts';
import type { Operation } from './operation.ts';
import * as ports from './ports.ts';
import * as registers from './registers.ts';
import * as tables from './tables.ts';
import * as transfers from './transfers.ts';

const nothing: Operation = () => OUTCOME.next;
const undefinedOpcode: Operation = (cpu) => raise(cpu, 'UD');

const OPERATIONS: Partial<Record<OperationName, Operation>> = {
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
  farJump: transfers.farJump,
  farReturn: transfers.farReturn,
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
};

export const operationOf = (name: OperationName): Operation => OPERATIONS[name] ?? undefinedOpcode;
