/**
 * A VM exit in words: its reason, its qualification bit by bit, its addresses.
 * Source: SDM Vol. 3C 27.2.1 "Basic VM-Exit Information".
 */
import type { VmExitEvent } from '../../events.ts';
import { accessOf } from './ept-violation.ts';
import { hex } from './exit.ts';

/** A line each. */
export const explainExit = (event: VmExitEvent): string[] => [
  `Basic exit reason ${event.number}: ${event.reason}.`,
  ...(event.number === 0 ? explainInterruption(event.interruptionInformation) : []),
  ...(QUALIFICATIONS[event.number]?.(event.qualification) ?? [
    `Exit qualification: ${hex(event.qualification)}.`,
  ]),
  ...(event.number === 48 || event.number === 49
    ? [`Guest-physical address: ${hex(event.guestPhysical)}.`]
    : []),
  `Guest RIP: ${hex(event.rip)}${event.instructionLength === 0 ? '' : `; the instruction has ${event.instructionLength} bytes`}.`,
];

/** VM-exit interruption information: SDM Vol. 3C 24.9.2. */
const explainInterruption = (information: number): string[] => {
  const value = BigInt(information);
  const vector = field(value, 0, 7);
  const type = {
    2: 'NMI',
    3: 'hardware exception',
    5: 'privileged software exception',
    6: 'software exception',
  }[field(value, 8, 10)];
  return [
    `Bits 7:0: vector ${vector}${vector === PF ? ', #PF; the exit qualification is the linear address' : ''}.`,
    `Bits 10:8: ${type ?? 'no exception'}.`,
    `Bit 11: ${bit(value, 11) ? 'with an error code' : 'without an error code'}.`,
  ];
};

const bit = (value: bigint, position: number): boolean => ((value >> BigInt(position)) & 1n) === 1n;
const field = (value: bigint, first: number, last: number): number =>
  Number((value >> BigInt(first)) & ((1n << BigInt(last - first + 1)) - 1n));

const PF = 14;

const QUALIFICATIONS: Readonly<Record<number, (value: bigint) => string[]>> = {
  28: (value) => [
    `Bits 3:0: control register CR${field(value, 0, 3)}.`,
    `Bits 5:4: access type ${field(value, 4, 5)}, ${['MOV to CR', 'MOV from CR', 'CLTS', 'LMSW'][field(value, 4, 5)]}.`,
    `Bits 11:8: general register ${field(value, 8, 11)}.`,
  ],
  30: (value) => [
    `Bits 2:0: size of the access, ${field(value, 0, 2) + 1} bytes.`,
    `Bit 3: ${bit(value, 3) ? 'IN' : 'OUT'}.`,
    `Bit 4: ${bit(value, 4) ? 'a string instruction' : 'not a string instruction'}.`,
    `Bit 5: ${bit(value, 5) ? 'with REP' : 'without REP'}.`,
    `Bit 6: the port is ${bit(value, 6) ? 'an immediate' : 'in DX'}.`,
    `Bits 31:16: port ${hex(field(value, 16, 31))}.`,
  ],
  48: (value) => [
    `Bits 2:0: ${{ read: 'a data read', write: 'a data write', execute: 'an instruction fetch' }[accessOf(Number(value))]}.`,
    `Bits 5:3: the EPT entries allow ${['read', 'write', 'execute'].filter((_, index) => bit(value, 3 + index)).join(', ') || 'nothing'}.`,
    `Bit 7: the guest linear address is ${bit(value, 7) ? 'valid' : 'not valid'}.`,
    ...(bit(value, 7)
      ? [
          `Bit 8: the access is ${bit(value, 8) ? 'to the translation of a linear address' : 'to a paging-structure entry'}.`,
        ]
      : []),
  ],
};
