/** setInstructionBreakpoints: addresses, from the Disassembly view. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { BreakpointTarget } from '../breakpoints/request.ts';
import { pageOf } from '../listing.ts';
import { parseReference } from '../memory-reference.ts';
import { hex } from '../numbers.ts';
import { defineRequest, type Session } from './request.ts';

export const setInstructionBreakpoints = defineRequest<
  DebugProtocol.SetInstructionBreakpointsArguments,
  DebugProtocol.SetInstructionBreakpointsResponse['body']
>({
  command: 'setInstructionBreakpoints',
  capabilities: { supportsInstructionBreakpoints: true },
  handle(session, { breakpoints }) {
    const requests = breakpoints.map((one) => ({
      key: JSON.stringify(one),
      condition: one.condition,
      hitCondition: one.hitCondition,
      target: () => targetOfReference(session, one.instructionReference, one.offset ?? 0),
    }));
    return { breakpoints: session.breakpoints.replace('instruction breakpoint', '', requests) };
  },
});

const targetOfReference = (
  { debuggee }: Session,
  reference: string,
  offset: number,
): BreakpointTarget => {
  const place = parseReference(reference, debuggee.machine.current);
  if (place?.space.kind !== 'gva') {
    return { places: [], problem: `'${reference}' is no linear address.` };
  }
  const { domain, vcpu } = place.space;
  const address = BigInt.asUintN(64, place.address + BigInt(offset));
  const owner = debuggee.machine.domains.find(({ id }) => id === domain)?.vcpus[vcpu];
  const rows = owner && debuggee.guestOf(domain).listing.rowsOf(owner, pageOf(address));
  const row = rows?.findLast((one) => one.address <= address);
  if (row !== undefined && row.address !== address && !row.isData) {
    return {
      places: [],
      problem: `${hex(address)} is inside the instruction at ${hex(row.address)}: ${row.text}.`,
    };
  }
  return {
    places: [{ kind: 'address', space: 'gva', address, domain }],
    instructionReference: reference,
  };
};
