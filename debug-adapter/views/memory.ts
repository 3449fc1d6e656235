/**
 * Memory: the bytes from an address on, linear, guest-physical or machine; eight a row, for which a
 * side bar has room.
 */
import type { PeekedMemory, Vcpu } from '../../emulator/index.ts';
import type { Debuggee } from '../debuggee.ts';
import { evaluateExpression } from '../expressions/evaluate.ts';
import { createMachineScope } from '../expressions/machine-scope.ts';
import { ExpressionError, parseExpression } from '../expressions/parse.ts';
import { type MemoryPlace, parseReference, referenceOf } from '../memory-reference.ts';
import { hex } from '../numbers.ts';
import type { Row } from '../protocol.ts';
import type { View } from './view.ts';

const ROW_BYTES = 8;
const ROWS = 32;
const MORE = 'more ';

export const memory: View = {
  id: 'memory',
  title: 'Memory',
  input: {
    prompt: 'Address: a number, register, symbol or expression; gpa:ADDRESS and maddr:ADDRESS too',
    placeholder: 'rsp',
    initial: 'rsp',
  },

  rows({ debuggee, vcpu, input }, parent) {
    const current = { domain: vcpu.domain, vcpu: vcpu.id };
    if (parent !== undefined) {
      const place = parseReference(parent.slice(MORE.length), current);
      return place === undefined ? [] : block(debuggee, place);
    }
    try {
      const place = placeOf(debuggee, vcpu, input);
      const [space = '', ...rest] = referenceOf(place).split(':');
      const name = /^d\d+\.v/.test(space)
        ? `linear, ${space}`
        : [space, ...rest.slice(0, -1)].join(' ');
      const head = { label: `${input} = ${hex(place.address)}`, detail: name };
      const reference = { value: hex(place.address), memoryReference: referenceOf(place) };
      return [
        { id: 'address', icon: 'location', ...head, ...reference },
        ...block(debuggee, place),
      ];
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      return [{ id: 'problem', label: error.message, icon: 'warning' }];
    }
  },
};

/** Throws ExpressionError. */
const placeOf = ({ machine }: Debuggee, vcpu: Vcpu, input: string): MemoryPlace => {
  const current = { domain: vcpu.domain, vcpu: vcpu.id };
  const spelled = parseReference(input, current);
  if (spelled !== undefined) return spelled;
  const [, kind = '', text = input] = /^\s*(gpa|maddr)\s*:(.*)$/i.exec(input) ?? [];
  const address = evaluateExpression(parseExpression(text), createMachineScope(machine, current));
  if (typeof address === 'string') throw new ExpressionError(`'${input}' is no address`, 0);
  switch (kind.toLowerCase()) {
    case 'gpa':
      return { space: { kind: 'gpa', domain: vcpu.domain }, address };
    case 'maddr':
      return { space: { kind: 'maddr' }, address };
    default:
      return { space: { kind: 'gva', ...current }, address };
  }
};

/** Some rows, and one below which the next ones are. */
const block = ({ machine }: Debuggee, { space, address }: MemoryPlace): Row[] => {
  const at = (offset: number): MemoryPlace => ({
    space,
    address: BigInt.asUintN(64, address + BigInt(offset)),
  });
  const rows = Array.from({ length: ROWS }, (_, index) => {
    const place = at(index * ROW_BYTES);
    return rowOf(place, machine.peekMemory(space, place.address, ROW_BYTES));
  });
  const next = referenceOf(at(ROWS * ROW_BYTES));
  return [...rows, { id: `${MORE}${next}`, label: 'More', icon: 'ellipsis', hasChildren: true }];
};

const rowOf = (place: MemoryPlace, { bytes, holes }: PeekedMemory): Row => {
  const reference = referenceOf(place);
  const isHole = (index: number): boolean =>
    holes.some(({ offset, lengthBytes }) => index >= offset && index < offset + lengthBytes);
  const cells = [...bytes].map((byte, index) =>
    isHole(index) ? '??' : byte.toString(16).padStart(2, '0'),
  );
  const text = [...bytes]
    .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'))
    .join('');
  const row = { id: reference, label: hex(place.address) };
  if (cells.every((cell) => cell === '??')) return { ...row, detail: 'nothing is mapped' };
  return {
    ...row,
    detail: `${cells.join(' ')}  ${text}`,
    value: cells.join(' '),
    tooltip: [
      reference,
      cells.join(' '),
      `as a quadword: 0x${[...cells].reverse().join('')}`,
      text,
    ].join('\n'),
    memoryReference: reference,
    ...(holes.length === 0 ? { context: 'memoryRow' } : {}),
  };
};
