/**
 * Finds a hypercall by its registers, copies its argument in, runs it, copies changes back.
 * Registers: Xen public/arch-x86/xen-x86_64.h and xen-x86_32.h, "Hypercall interface".
 */
import { CODE_WIDTH, CPL, registerSlot } from '../../cpu/state.ts';
import { count, type XenVcpu } from '../domain.ts';
import { copyFromGuest, copyToGuest, emit, type Hypervisor } from '../hypervisor.ts';
import { findHypercall, HYPERCALL_NAMES, hasCommands } from './catalog.ts';
import {
  type Continuation,
  ERRORS,
  type Hypercall,
  type HypercallContext,
  type HypercallResult,
  placeFields,
  readNumber,
  writeNumber,
} from './hypercall.ts';

export interface HypercallRequest {
  readonly number: number;
  /** 'memory_op'. */
  readonly name: string;
  readonly definition: Hypercall | undefined;
  readonly context: HypercallContext;
  readonly fields: Record<string, bigint>;
  /** Set if the argument structure is not readable. */
  readonly fault: boolean;
}

const LONG_ARGUMENTS = [7, 6, 2, 10, 8];
const PROTECTED_ARGUMENTS = [3, 1, 2, 6, 7];
/** Commands of memory_op: the bits above are a continuation's, MEMOP_EXTENT_SHIFT. */
const COMMAND_MASK = 0x3fn;
const MEMORY_OP = 12;

/** Reads what the guest asks for in its registers. */
export const decodeHypercall = (hypervisor: Hypervisor, vcpu: XenVcpu): HypercallRequest => {
  const { hardware } = hypervisor;
  const isLong = Number(hardware.slot(vcpu, CODE_WIDTH) & 0xffff_ffffn) === 64;
  const cut = (value: bigint): bigint => (isLong ? value : value & 0xffff_ffffn);
  const args = (isLong ? LONG_ARGUMENTS : PROTECTED_ARGUMENTS).map((register) =>
    cut(hardware.slot(vcpu, registerSlot(register))),
  );
  const number = Number(hardware.slot(vcpu, registerSlot(0)) & 0xffff_ffffn);
  return requestOf(hypervisor, vcpu, number, args, isLong ? 8 : 4);
};

const requestOf = (
  hypervisor: Hypervisor,
  vcpu: XenVcpu,
  number: number,
  args: readonly bigint[],
  wordBytes: 4 | 8,
): HypercallRequest => {
  const first = args[0] ?? 0n;
  const command = Number((number === MEMORY_OP ? first & COMMAND_MASK : first) & 0xffff_ffffn);
  const definition = findHypercall(number, command, vcpu.domain.type);
  const call = (other: number, its: readonly bigint[]): bigint | Continuation => {
    const request = requestOf(hypervisor, vcpu, other, its, wordBytes);
    noteHypercall(request, undefined);
    const result = perform(request);
    if (typeof result === 'bigint') noteHypercall(request, result);
    return result;
  };
  const context: HypercallContext = { hypervisor, vcpu, args, wordBytes, call };
  const fields: Record<string, bigint> = {};
  let fault = false;
  if (definition?.argument !== undefined) {
    const placed = placeFields(definition.argument, context.wordBytes);
    const address = args[definition.argumentIndex ?? 1] ?? 0n;
    const bytes = copyFromGuest(hypervisor, vcpu, address, placed.bytes);
    fault = bytes === undefined;
    for (const field of placed.fields) {
      fields[field.name] = bytes === undefined ? 0n : readNumber(bytes, field.offset, field.bytes);
    }
  }
  const name = HYPERCALL_NAMES[number] ?? `hypercall ${number}`;
  return { number, name, definition, context, fields, fault };
};

/**
 * Runs it; the value for RAX. Undefined: it is to be made again, by the same instruction, and its
 * arguments are in the registers.
 */
export const performHypercall = (request: HypercallRequest): bigint | undefined => {
  const result = perform(request);
  if (typeof result === 'bigint') return result;
  const { hypervisor, vcpu, wordBytes } = request.context;
  const registers = wordBytes === 8 ? LONG_ARGUMENTS : PROTECTED_ARGUMENTS;
  result.continueWith.forEach((value, index) => {
    const register = registers[index];
    if (register !== undefined) {
      hypervisor.hardware.setSlot(vcpu, registerSlot(register), BigInt.asUintN(64, value));
    }
  });
  return undefined;
};

const perform = (request: HypercallRequest): bigint | Continuation => {
  const { definition, context, fields, fault } = request;
  const { hypervisor, vcpu } = context;
  count(vcpu.domain.hypercallCounts, request.name);
  // A PV guest's processes do not come here.
  const isUser = (hypervisor.hardware.slot(vcpu, CPL) & 3n) !== 0n;
  if (isUser && vcpu.domain.type !== 'pv') return resultValue('EPERM');
  if (definition === undefined) return resultValue('ENOSYS');
  if (definition.isList === true) return resultValue(definition.handle(context, fields));
  if (fault) return resultValue(definition.onFault?.(context) ?? 'EFAULT');
  const before = { ...fields };
  const result = definition.handle(context, fields);
  const isChanged = Object.keys(fields).some((name) => fields[name] !== before[name]);
  if (isChanged && !writeBack(request)) return resultValue('EFAULT');
  return resultValue(result);
};

const writeBack = ({ definition, context, fields }: HypercallRequest): boolean => {
  const { hypervisor, vcpu, args, wordBytes } = context;
  const placed = placeFields(definition?.argument ?? {}, wordBytes);
  const address = args[definition?.argumentIndex ?? 1] ?? 0n;
  const bytes = copyFromGuest(hypervisor, vcpu, address, placed.bytes);
  if (bytes === undefined) return false;
  for (const field of placed.fields) {
    writeNumber(bytes, field.offset, field.bytes, fields[field.name] ?? 0n);
  }
  return copyToGuest(hypervisor, vcpu, address, bytes);
};

const resultValue = (result: HypercallResult): bigint | Continuation => {
  if (typeof result === 'object') return result;
  return BigInt.asUintN(64, typeof result === 'string' ? -BigInt(ERRORS[result]) : BigInt(result));
};

/** 'memory_op XENMEM_decrease_reservation'. */
export const hypercallText = ({ name, definition, number, context }: HypercallRequest): string => {
  if (definition === undefined) {
    return hasCommands(number) ? `${name}, command ${context.args[0] ?? 0n}` : name;
  }
  return definition.command === undefined ? name : `${name} ${definition.name}`;
};

/** Tells of a hypercall; `result` is there once it has returned. */
export const noteHypercall = (request: HypercallRequest, result: bigint | undefined): void => {
  const { context, number, name, definition, fields } = request;
  if (!context.hypervisor.events.wants('hypercall')) return;
  emit(context.hypervisor, context.vcpu, {
    kind: 'hypercall',
    number,
    name,
    operation: definition?.command === undefined ? undefined : definition.name,
    args: context.args,
    decoded: definition?.argument === undefined ? undefined : { ...fields },
    result,
    stage: result === undefined ? 'call' : 'return',
  });
};
