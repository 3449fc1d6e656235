/** gotoTargets: the addresses of a line. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { parseListingUri, writeListing } from '../documents/listing-document.ts';
import { hex } from '../numbers.ts';
import { defineRequest, type Session } from './request.ts';

export const gotoTargets = defineRequest<
  DebugProtocol.GotoTargetsArguments,
  DebugProtocol.GotoTargetsResponse['body']
>({
  command: 'gotoTargets',
  capabilities: { supportsGotoTargetsRequest: true },
  handle: (session, { source, line }) => ({
    targets: addressesOf(session, source.path ?? '', line).map((address) => ({
      id: Number(address),
      label: `RIP = ${hex(address)}`,
      line,
      instructionPointerReference: hex(address),
    })),
  }),
});

/** Addresses beyond 2^53 can not be ids of targets. */
const addressesOf = ({ debuggee }: Session, path: string, line: number): bigint[] => {
  const page = parseListingUri(path);
  const found =
    page === undefined
      ? debuggee.guests.flatMap(({ sources }) => [...sources.addressesOf(path, line)])
      : [writeListing(debuggee, page).addressOf(line) ?? -1n];
  return found.filter((address) => address >= 0n && address <= BigInt(Number.MAX_SAFE_INTEGER));
};
