/**
 * The call stack of a vCPU: a VM exit that is being handled, then the guest's code. Every frame
 * has a source: a file of the program, or a generated document.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { fileNameOf } from '../assembler/index.ts';
import type { ExitInProgress, Vcpu } from '../emulator/index.ts';
import type { Debuggee } from './debuggee.ts';
import { exitUri, writeExit } from './documents/exit-document.ts';
import { listingUri, parseListingUri, writeListing } from './documents/listing-document.ts';
import { referenceOf } from './memory-reference.ts';
import { hex } from './numbers.ts';
import { threadIdOf, vcpuOfThread } from './threads.ts';
import { type CodeFrame, unwind } from './unwind.ts';

export type Frame =
  | { readonly kind: 'exit'; readonly vcpu: Vcpu; readonly exit: ExitInProgress }
  | {
      readonly kind: 'code';
      readonly vcpu: Vcpu;
      readonly code: CodeFrame;
      /** Whether registers are those of the vCPU. */
      readonly isInnermost: boolean;
    };

const FRAMES_PER_THREAD = 128;

export const frameIdOf = (threadId: number, index: number): number =>
  threadId * FRAMES_PER_THREAD + index;

/** All frames of a vCPU, the innermost first. */
export const framesOf = ({ machine, guestOf }: Debuggee, vcpu: Vcpu): Frame[] => {
  const { exitInProgress: exit } = machine;
  const isExiting = exit?.domain === vcpu.domain && exit.vcpu === vcpu.id;
  const code = unwind(machine, vcpu, guestOf(vcpu.domain).symbols).map(
    (one, index): Frame => ({ kind: 'code', vcpu, code: one, isInnermost: index === 0 }),
  );
  return isExiting ? [{ kind: 'exit', vcpu, exit }, ...code] : code;
};

/** Differs if a client would show other frames. */
export const framesKey = (frames: readonly Frame[]): string =>
  frames.map((frame) => (frame.kind === 'exit' ? 'exit' : hex(frame.code.rip))).join(' ');

/** The frame with an id from `frameIdOf`; undefined if it is gone. */
export const frameOf = (debuggee: Debuggee, frameId: number | undefined): Frame | undefined => {
  if (frameId === undefined) return framesOf(debuggee, debuggee.vcpuOf(undefined))[0];
  const { domain, vcpu } = vcpuOfThread(Math.floor(frameId / FRAMES_PER_THREAD));
  const found = debuggee.machine.domains
    .find(({ id }) => id === domain)
    ?.vcpus.find(({ id }) => id === vcpu);
  return found && framesOf(debuggee, found)[frameId % FRAMES_PER_THREAD];
};

/** Where an address is shown: in a source file, else in the listing of its page. */
export const sourceOfAddress = (
  debuggee: Debuggee,
  vcpu: Vcpu,
  address: bigint,
): { readonly source: DebugProtocol.Source; readonly line: number; readonly column: number } => {
  const { sources, listing } = debuggee.guestOf(vcpu.domain);
  const place = sources.placeOf(address);
  if (place !== undefined) {
    const { path, line, column } = place;
    return { source: { name: fileNameOf(path), path }, line, column };
  }
  listing.noteBoundary(address);
  const uri = listingUri(vcpu.domain, vcpu.id, address);
  const at = parseListingUri(uri);
  const line = at && writeListing(debuggee, at).lineOf(address);
  return {
    source: { name: uri.slice(uri.indexOf('/') + 1), path: uri },
    line: line ?? 1,
    column: 1,
  };
};

export const describeFrame = (
  debuggee: Debuggee,
  frame: Frame,
  index: number,
): DebugProtocol.StackFrame => {
  const { vcpu } = frame;
  const id = frameIdOf(threadIdOf(vcpu.domain, vcpu.id), index);
  if (frame.kind === 'exit') {
    const { exit } = frame;
    const uri = exitUri(exit);
    return {
      id,
      name: exit.title,
      source: { name: 'hypervisor', path: uri },
      line: writeExit(exit).line,
      column: 1,
    };
  }
  const { rip, isGuess } = frame.code;
  // A caller stands after its CALL; what is shown is the CALL.
  const shown = frame.isInnermost ? rip : startOfCall(debuggee, vcpu, rip - 1n);
  const { source, line, column } = sourceOfAddress(debuggee, vcpu, shown);
  const name = debuggee.guestOf(vcpu.domain).symbols.nameOf(shown) ?? hex(rip);
  return {
    id,
    name: isGuess ? `${name} ?` : name,
    source,
    line,
    column,
    instructionPointerReference: referenceOf({
      space: { kind: 'gva', domain: vcpu.domain, vcpu: vcpu.id },
      address: rip,
    }),
  };
};

/** The address of the row that contains an address. */
const startOfCall = ({ guestOf }: Debuggee, vcpu: Vcpu, inside: bigint): bigint => {
  const rows = guestOf(vcpu.domain).listing.rowsOf(vcpu, inside & ~0xfffn);
  const row = rows.findLast(({ address }) => address <= inside);
  return row?.address ?? inside;
};
