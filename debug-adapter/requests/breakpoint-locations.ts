/** breakpointLocations: the lines that have code. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { parseListingUri, writeListing } from '../documents/listing-document.ts';
import { defineRequest } from './request.ts';

export const breakpointLocations = defineRequest<
  DebugProtocol.BreakpointLocationsArguments,
  DebugProtocol.BreakpointLocationsResponse['body']
>({
  command: 'breakpointLocations',
  capabilities: { supportsBreakpointLocationsRequest: true },
  handle({ debuggee }, { source, line, endLine = line }) {
    const path = source.path ?? '';
    const page = parseListingUri(path);
    const isInRange = (one: number): boolean => one >= line && one <= endLine;
    if (page !== undefined) {
      const { addressOf } = writeListing(debuggee, page);
      const lines = Array.from(
        { length: Math.min(endLine - line + 1, 10_000) },
        (_, index) => line + index,
      );
      return {
        breakpoints: lines
          .filter((one) => addressOf(one) !== undefined)
          .map((one) => ({ line: one })),
      };
    }
    const lines = new Set(debuggee.guests.flatMap(({ sources }) => [...sources.linesOf(path)]));
    return { breakpoints: [...lines].filter(isInRange).map((one) => ({ line: one })) };
  },
});
