/**
 * What a DAP request is: its command, the capabilities it brings, and its answer.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { BreakpointSet } from '../breakpoints/breakpoint-set.ts';
import type { Debuggee } from '../debuggee.ts';
import type { AdapterHost } from '../host.ts';
import type { LaunchArguments, Row } from '../protocol.ts';
import type { Slice } from '../runner.ts';
import type { Stop } from '../stops.ts';
import type { VariableReferences } from '../variables/container.ts';

/** What a client holds of the machine. */
export interface Told {
  /** By thread: the frames, as `framesKey` has them. */
  readonly frames: Map<number, string>;
  /** Memory references that were read. */
  readonly memory: Set<string>;
}

/** The session as requests see it. */
export interface Session {
  readonly host: AdapterHost;
  readonly breakpoints: BreakpointSet;
  readonly variables: VariableReferences;
  /** What the requests bring. */
  readonly capabilities: DebugProtocol.Capabilities;
  /** What the client said of itself. */
  client: DebugProtocol.InitializeRequestArguments | undefined;
  /** Why the machine stands; undefined while it runs. */
  readonly lastStop: Stop | undefined;
  /** Whether a crashed guest stops the session, so that it can be looked at. */
  stopsAtCrash: boolean;
  /** Throws RequestError before a launch. */
  readonly debuggee: Debuggee;
  readonly isRunning: boolean;
  launch(launch: LaunchArguments): Promise<void>;
  restart(launch: LaunchArguments | undefined): Promise<void>;
  /** After the client's configuration: stops at the entry or runs. */
  begin(): void;
  /** Runs: slices as the runner takes them. */
  go(first: Slice, next?: Slice): void;
  pause(): void;
  end(): void;
  say(category: 'console' | 'stdout' | 'stderr' | 'important', output: string): void;
  /** Something was changed by hand: clients look again. */
  touched(): void;
  /** What the client was told, to be told again when it is touched. */
  readonly told: Told;
  /** Marks the rows of a view that are not what they were at the stop before. */
  markChanges(view: string, rows: Row[]): Row[];
  sendEvent(event: DebugProtocol.Event): void;
}

/** The user's or the client's mistake in a request: a sentence. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
}

export interface Request {
  readonly command: string;
  readonly capabilities: DebugProtocol.Capabilities;
  handle(session: Session, args: unknown): unknown;
  /** Once the answer is sent. */
  readonly afterwards?: (session: Session, args: unknown) => void;
}

/** Gives the handler the types of its arguments and of its answer. */
export const defineRequest = <A, B = void>(definition: {
  readonly command: string;
  readonly capabilities?: DebugProtocol.Capabilities;
  handle(session: Session, args: A): B | Promise<B>;
  afterwards?(session: Session, args: A): void;
}): Request => ({ capabilities: {}, ...definition }) as Request;
