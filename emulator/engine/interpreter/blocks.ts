/**
 * Decoded code, by the host address of its first byte and the code size: records in the machine's memory (record.ts).
 * A page with decoded code is flagged, with a map of the granules of 64 bytes that hold it.
 */
import { type DecodedInstruction, decode } from '../../../isa/index.ts';
import type { Cpu } from '../../cpu/cpu.ts';
import * as state from '../../cpu/state.ts';
import { PAGE_HAS_CODE, pageFlagSlot } from '../../memory/machine-memory.ts';
import { type OperationPlan, planOperation } from '../operation-plan.ts';
import { formKeyOf, isSpecialSegment } from './form-key.ts';
import { endsBlock, ignoresFlags, overwritesFlags, QUIET } from './forms.ts';
import { GO_ON_FORM, LEAVE_FORM } from './generate.ts';
import type { Handlers } from './handlers.ts';
import { operationFormOf } from './operation-forms.ts';
import { HEADER, HEADER_BYTES, MAX_BLOCK, RECORD, RECORD_BYTES } from './record.ts';

export interface Blocks {
  /** The block at an offset of a page, of code for these handlers; it is decoded if it is not known. */
  at(page: number, offset: number, handlers: Handlers): number;
  /** Whether any of these bytes, within one page, lie in a granule with decoded code. */
  hasCode(host: number, lengthBytes: number): boolean;
  /** Memory was written; true if blocks were dropped. */
  noteWrite(host: number, lengthBytes: number): boolean;
  dropAll(): void;
  /** The operation of a record whose handler leaves to one. */
  planOf(record: number): OperationPlan | undefined;
  /** Changes whenever all blocks are dropped. */
  readonly generation: number;
  /** Page offsets at which blocks begin anew and are never linked. */
  setCuts(offsets: ReadonlySet<number>): void;
}

interface CodePage {
  /** Keys of the blocks that begin here. */
  readonly starts: number[];
  granulesLow: number;
  granulesHigh: number;
}

const PAGE = 4096;
const GRANULE_SHIFT = 6;

/** What tells a block from others: its host address and code size. */
const keyOf = (host: number, { codeWidth }: Handlers): number =>
  host * 2 + (codeWidth === 64 ? 0 : 1);

export const createBlocks = (cpu: Cpu, onNewCodePage: () => void): Blocks => {
  const { bytes, view } = cpu.memory;
  const blocks = new Map<number, number>();
  /** The operations that handlers leave to; records number them from 1. */
  const plans: OperationPlan[] = [];
  const pages = new Map<number, CodePage>();
  let next = state.RECORDS;
  let generation = 0;
  let cuts: ReadonlySet<number> = new Set();

  const dropAll = (): void => {
    for (const page of pages.keys()) {
      const slot = pageFlagSlot(page);
      bytes[slot] = (bytes[slot] ?? 0) & ~PAGE_HAS_CODE;
    }
    blocks.clear();
    pages.clear();
    plans.length = 0;
    next = state.RECORDS;
    generation += 1;
  };
  const dropPage = (page: number): void => {
    for (const start of pages.get(page)?.starts ?? []) blocks.delete(start);
    pages.delete(page);
    const slot = pageFlagSlot(page);
    bytes[slot] = (bytes[slot] ?? 0) & ~PAGE_HAS_CODE;
  };
  const codePageOf = (page: number): CodePage => {
    const known = pages.get(page);
    if (known !== undefined) return known;
    const fresh: CodePage = { starts: [], granulesLow: 0, granulesHigh: 0 };
    pages.set(page, fresh);
    const slot = pageFlagSlot(page);
    bytes[slot] = (bytes[slot] ?? 0) | PAGE_HAS_CODE;
    // Writes to it were fast until now.
    onNewCodePage();
    return fresh;
  };
  const markCode = (code: CodePage, offset: number, end: number): void => {
    const last = Math.min(end - 1, PAGE - 1) >>> GRANULE_SHIFT;
    for (let granule = offset >>> GRANULE_SHIFT; granule <= last; granule += 1) {
      if (granule < 32) code.granulesLow |= 1 << granule;
      else code.granulesHigh |= 1 << (granule - 32);
    }
  };

  const hasCode = (host: number, lengthBytes: number): boolean => {
    const offset = host & (PAGE - 1);
    const code = pages.get(host - offset);
    if (code === undefined) return false;
    const last = (offset + lengthBytes - 1) >>> GRANULE_SHIFT;
    for (let granule = offset >>> GRANULE_SHIFT; granule <= last; granule += 1) {
      const bit =
        granule < 32 ? code.granulesLow >>> granule : code.granulesHigh >>> (granule - 32);
      if ((bit & 1) === 1) return true;
    }
    return false;
  };

  const writeRecord = (
    at: number,
    handler: number,
    number: number,
    offset: number,
    instruction: DecodedInstruction | undefined,
  ): void => {
    bytes.fill(0, at, at + RECORD_BYTES);
    view.setUint16(at + RECORD.handler, handler, true);
    view.setUint8(at + RECORD.number, number);
    view.setUint16(at + RECORD.pageOffset, offset, true);
    if (instruction === undefined) view.setBigInt64(at + RECORD.immediate, BigInt(offset), true);
    else {
      view.setUint8(at + RECORD.length, instruction.lengthBytes);
      writeOperands(view, at, offset, instruction);
    }
  };

  /** Whether others may follow in the block. */
  const writeOperation = (
    at: number,
    plan: OperationPlan,
    number: number,
    offset: number,
    { numbers }: Handlers,
  ): boolean => {
    const { form, register } = operationFormOf(plan);
    writeRecord(at, numbers.get(form.key) ?? 0, number, offset, undefined);
    view.setUint32(at + RECORD.immediate, plans.push(plan), true);
    if (register !== undefined) {
      view.setUint16(at + RECORD.registers[0], state.registerSlot(register), true);
    }
    return form.goesOn;
  };

  const build = (page: number, offset: number, handlers: Handlers): number => {
    const { numbers, codeWidth } = handlers;
    const largest = HEADER_BYTES + (MAX_BLOCK + 1) * RECORD_BYTES;
    if (next + largest > state.RECORDS_END) dropAll();
    const code = codePageOf(page);
    const block = next;
    const window = bytes.subarray(page, page + PAGE);
    let at = block + HEADER_BYTES;
    let position = offset;
    let count = 0;
    const keys: string[] = [];
    for (let isOpen = true; isOpen; ) {
      if (count === MAX_BLOCK || position >= PAGE || (count > 0 && cuts.has(position))) {
        writeRecord(at, numbers.get(GO_ON_FORM) ?? 0, count, position, undefined);
        at += RECORD_BYTES;
        break;
      }
      const decoded = decode(window, position, 0n, codeWidth);
      const instruction = typeof decoded === 'string' ? undefined : decoded;
      const key = (instruction && formKeyOf(instruction)) ?? '';
      const handler = numbers.get(key);
      keys.push(key);
      if (instruction === undefined || handler === undefined) {
        const plan = instruction && planOperation(cpu, instruction);
        const leaves = numbers.get(LEAVE_FORM) ?? 0;
        if (plan === undefined) writeRecord(at, leaves, count, position, undefined);
        isOpen = plan !== undefined && writeOperation(at, plan, count, position, handlers);
      } else {
        writeRecord(at, handler, count, position, instruction);
        isOpen = !endsBlock(instruction);
      }
      // Bytes that decide about an instruction that is not whole are code, too.
      markCode(code, position, position + (instruction?.lengthBytes ?? 15));
      position += instruction?.lengthBytes ?? 0;
      count += 1;
      at += RECORD_BYTES;
    }
    for (let i = 0; i + 1 < keys.length; i += 1) {
      const quiet = numbers.get(`${keys[i]}${QUIET}`);
      let after = i + 1;
      while (ignoresFlags(keys[after] ?? '')) after += 1;
      if (quiet === undefined || !overwritesFlags(keys[after] ?? '')) continue;
      const record = block + HEADER_BYTES + i * RECORD_BYTES;
      view.setUint16(record + RECORD.handler, quiet, true);
    }
    next = at;
    view.setInt32(block + HEADER.instructions, count, true);
    view.setInt32(block + HEADER.pageOffset, offset, true);
    const key = keyOf(page + offset, handlers);
    blocks.set(key, block);
    code.starts.push(key);
    return block;
  };

  return {
    get generation() {
      return generation;
    },
    at: (page, offset, handlers) =>
      blocks.get(keyOf(page + offset, handlers)) ?? build(page, offset, handlers),
    planOf: (record) => plans[view.getUint32(record + RECORD.immediate, true) - 1],
    hasCode,
    noteWrite(host, lengthBytes) {
      if (lengthBytes > PAGE) {
        dropAll();
        return true;
      }
      let dropped = false;
      for (let done = 0; done < lengthBytes; ) {
        const at = host + done;
        const room = Math.min(lengthBytes - done, PAGE - (at & (PAGE - 1)));
        if (hasCode(at, room)) {
          dropPage(at - (at & (PAGE - 1)));
          dropped = true;
        }
        done += room;
      }
      return dropped;
    },
    dropAll,
    setCuts(offsets) {
      const same = offsets.size === cuts.size && [...offsets].every((one) => cuts.has(one));
      if (same) return;
      cuts = new Set(offsets);
      dropAll();
    },
  };
};

const writeOperands = (
  view: DataView,
  at: number,
  offset: number,
  { operands, lengthBytes, form: { codeWidth } }: DecodedInstruction,
): void => {
  let register = 0;
  for (const operand of operands) {
    switch (operand.kind) {
      case 'register': {
        const slot = state.registerSlot(operand.register) + (operand.high ? 1 : 0);
        view.setUint16(at + (RECORD.registers[register] ?? 0), slot, true);
        register += 1;
        break;
      }
      case 'memory': {
        const { base, index, scale, displacement, segment } = operand;
        const isRelative = base === 'rip';
        const slotOf = (one: number | undefined) =>
          one === undefined ? state.ZERO : state.registerSlot(one);
        const start = isRelative ? state.RIP_PAGE : slotOf(base);
        const fromPage = isRelative ? BigInt(offset + lengthBytes) : 0n;
        view.setUint16(at + RECORD.base, start, true);
        view.setUint16(at + RECORD.index, slotOf(index), true);
        view.setUint8(at + RECORD.scale, Math.log2(scale));
        view.setInt32(at + RECORD.displacement, Number(displacement + fromPage), true);
        if (isSpecialSegment(segment, codeWidth))
          view.setUint16(at + RECORD.segment, state.segmentBase(segment), true);
        break;
      }
      case 'immediate':
        view.setBigUint64(at + RECORD.immediate, operand.value, true);
        break;
      case 'target': {
        const target = BigInt(offset + lengthBytes) + operand.displacement;
        view.setBigInt64(at + RECORD.immediate, target, true);
        break;
      }
      default:
        throw new Error(`An operand of kind ${operand.kind} has no place in a record.`);
    }
  }
};
