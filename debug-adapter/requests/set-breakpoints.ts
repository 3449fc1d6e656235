/** setBreakpoints: lines of source files, and of generated listings. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { comparablePath, fileNameOf } from '../../assembler/index.ts';
import type { BreakpointTarget } from '../breakpoints/request.ts';
import type { Debuggee } from '../debuggee.ts';
import { parseListingUri, writeListing } from '../documents/listing-document.ts';
import { defineRequest, type Session } from './request.ts';

export const setBreakpoints = defineRequest<
  DebugProtocol.SetBreakpointsArguments,
  DebugProtocol.SetBreakpointsResponse['body']
>({
  command: 'setBreakpoints',
  handle(session, { source, breakpoints = [] }) {
    const path = source.path ?? source.name ?? '';
    const requests = breakpoints.map((one) => ({
      key: JSON.stringify([one.line, one.condition, one.hitCondition, one.logMessage]),
      condition: one.condition,
      hitCondition: one.hitCondition,
      logMessage: one.logMessage,
      target: () => targetOfLine(session, path, one.line),
    }));
    return {
      breakpoints: session.breakpoints.replace('breakpoint', comparablePath(path), requests),
    };
  },
});

const targetOfLine = ({ debuggee }: Session, path: string, line: number): BreakpointTarget => {
  const page = parseListingUri(path);
  if (page === undefined) return targetInSource(debuggee, path, line);
  const address = writeListing(debuggee, page).addressOf(line);
  return address === undefined
    ? { places: [], problem: 'No instruction is on this line.' }
    : { places: [{ kind: 'address', space: 'gva', address, domain: page.domain }], line };
};

/** The line, or the next one that has code. */
const targetInSource = ({ guests }: Debuggee, path: string, line: number): BreakpointTarget => {
  const lines = guests.flatMap(({ sources }) => [...sources.linesOf(path)]);
  if (lines.length === 0) {
    return { places: [], problem: `No program of this session has code from ${fileNameOf(path)}.` };
  }
  const moved = Math.min(...lines.filter((one) => one >= line));
  if (moved === Number.POSITIVE_INFINITY) {
    return { places: [], problem: 'No code is on this line or below it.' };
  }
  const places = guests.flatMap(({ domain, sources }) =>
    sources
      .addressesOf(path, moved)
      .map((address) => ({ kind: 'address' as const, space: 'gva' as const, address, domain })),
  );
  return { places, line: moved };
};
