/**
 * IN, OUT, INS, OUTS. A PVH domain has no devices but Xen's debug console, port 0xE9: reads give
 * all ones, writes are lost. Qualification: SDM Vol. 3C 27.2.1, Table 27-5.
 */
import { CR2 } from '../../cpu/state.ts';
import { FIELD } from '../hardware.ts';
import { copyFromGuest, copyToGuest, printConsole } from '../hypervisor.ts';
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
  writeGeneral,
} from './exit.ts';

const DEBUG_CONSOLE = 0xe9;
const PF = 14;
const RFLAGS_DF = 1n << 10n;
/** A repeated transfer goes on in pieces: RIP stays until RCX is 0. */
const PIECE_ELEMENTS = 4096n;

export const io: ExitHandler = {
  number: 30,
  *handle(context) {
    const { qualification } = context;
    const bytes = Number(qualification & 7n) + 1;
    const isIn = (qualification & 8n) !== 0n;
    const isString = (qualification & 16n) !== 0n;
    const port = Number((qualification >> 16n) & 0xffffn);
    yield step(
      'Decode the qualification',
      () => `${isIn ? 'IN' : 'OUT'}, ${bytes} bytes, port ${hex(port)}`,
    );
    if (isString) {
      yield step('Move the elements', () => 'through the segment and linear address of the exit');
      const isDone = transfer(context, port, bytes, isIn);
      if (!isDone) return;
    } else if (isIn) {
      yield step('Set AL, AX or EAX', () => 'to all ones: no device answers');
      const ones = (1n << BigInt(8 * bytes)) - 1n;
      const rax = readGeneral(context, 0);
      writeGeneral(context, 0, bytes === 4 ? ones : (rax & ~ones) | ones);
    } else {
      const value = readGeneral(context, 0);
      yield step('Write the port', () =>
        port === DEBUG_CONSOLE
          ? `the debug console prints ${hex(value & 0xffn)}`
          : 'no device listens',
      );
      writePort(context, port, value, bytes);
    }
    yield advanceStep(context);
    advance(context);
  },
};

const writePort = (
  { hypervisor, vcpu }: ExitContext,
  port: number,
  value: bigint,
  bytes: number,
): void => {
  if (port !== DEBUG_CONSOLE || bytes !== 1) return;
  printConsole(hypervisor, vcpu, String.fromCharCode(Number(value & 0xffn)));
};

/** INS and OUTS, with REP; whether the instruction is finished. */
const transfer = (context: ExitContext, port: number, bytes: number, isIn: boolean): boolean => {
  const { hypervisor, vcpu, qualification } = context;
  const isRepeated = (qualification & 32n) !== 0n;
  const index = isIn ? 7 : 6;
  const step = (readField(context, FIELD.GUEST_RFLAGS) & RFLAGS_DF) === 0n ? bytes : -bytes;
  const addressSize = Number((readField(context, FIELD.EXIT_INSTRUCTION_INFORMATION) >> 7n) & 7n);
  const mask = [0xffffn, 0xffff_ffffn, 0xffff_ffff_ffff_ffffn][addressSize] ?? 0xffff_ffffn;
  let left = isRepeated ? readGeneral(context, 1) & mask : 1n;
  let linear = readField(context, FIELD.GUEST_LINEAR_ADDRESS);
  const ones = new Uint8Array(bytes).fill(0xff);
  for (let moved = 0n; left > 0n && moved < PIECE_ELEMENTS; moved += 1n) {
    const element = isIn ? ones : copyFromGuest(hypervisor, vcpu, linear, bytes);
    const isMapped = isIn ? copyToGuest(hypervisor, vcpu, linear, ones) : element !== undefined;
    if (!isMapped) {
      hypervisor.hardware.setSlot(vcpu, CR2, linear);
      injectException(context, PF, isIn ? 2 : 0);
      return false;
    }
    if (!isIn) writePort(context, port, BigInt(element?.[0] ?? 0), bytes);
    const pointer = readGeneral(context, index);
    writeGeneral(context, index, (pointer & ~mask) | ((pointer + BigInt(step)) & mask));
    linear = BigInt.asUintN(64, linear + BigInt(step));
    left -= 1n;
    if (isRepeated) writeGeneral(context, 1, (readGeneral(context, 1) & ~mask) | left);
  }
  return left === 0n;
};
