/**
 * One debug session: looks a request up in the catalog, answers it, and reports stops.
 */
import {
  DebugSession,
  Event,
  InvalidatedEvent,
  MemoryEvent,
  OutputEvent,
  Response,
  TerminatedEvent,
} from '@vscode/debugadapter';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { type BreakpointHit, MachineConfigError, type StopReason } from '../emulator/index.ts';
import { type BreakpointSet, createBreakpointSet } from './breakpoints/breakpoint-set.ts';
import { createConsoleDecoder } from './console-text.ts';
import { createDebuggee, type Debuggee } from './debuggee.ts';
import { exitUri } from './documents/exit-document.ts';
import { ExpressionError } from './expressions/parse.ts';
import { framesKey, framesOf } from './frames.ts';
import type { AdapterHost } from './host.ts';
import { grouped, sizeText } from './numbers.ts';
import { present } from './present.ts';
import { openGuests } from './programs/open-guests.ts';
import { LaunchError } from './programs/open-program.ts';
import type { LaunchArguments, Row } from './protocol.ts';
import { findRequest, REQUESTS } from './requests/catalog.ts';
import { RequestError, type Session, type Told } from './requests/request.ts';
import { createRunner, type Runner, type Slice } from './runner.ts';
import { describeStop, type Stop } from './stops.ts';
import { findVcpu, threadIdOf, vcpuOfThread } from './threads.ts';
import { createVariableReferences } from './variables/container.ts';

/** Clients look again at all that they have read from a reference on. */
const WHOLE_MEMORY = 0x7fff_ffff;

interface Launched {
  readonly launch: LaunchArguments;
  readonly debuggee: Debuggee;
  readonly runner: Runner;
}

export class HyperstepSession extends DebugSession implements Session {
  readonly host: AdapterHost;
  readonly breakpoints: BreakpointSet;
  readonly variables = createVariableReferences();
  readonly capabilities: DebugProtocol.Capabilities = Object.assign(
    {},
    ...REQUESTS.map((request) => request.capabilities),
  );
  client: DebugProtocol.InitializeRequestArguments | undefined;
  lastStop: Stop | undefined;
  stopsAtCrash = true;
  readonly told: Told = { frames: new Map(), memory: new Set() };
  #launched: Launched | undefined;
  #console = '';
  #consoleDomain = 0;
  #decode = createConsoleDecoder();
  #rows = { now: new Map<string, string>(), before: new Map<string, string>() };

  constructor(host: AdapterHost) {
    super();
    this.host = host;
    this.breakpoints = createBreakpointSet((line, hit) => this.#log(line, hit));
  }

  /** A message of the client that is no request we know is answered with an error. */
  protected override dispatchRequest(request: DebugProtocol.Request): void {
    this.#answer(request).catch((error: unknown) => {
      this.say('stderr', `${String(error)}\n`);
    });
  }

  async #answer(request: DebugProtocol.Request): Promise<void> {
    const response: DebugProtocol.Response = new Response(request);
    const known = findRequest(request.command);
    if (known === undefined) {
      return this.#refuse(response, `There is no request '${request.command}'.`, false);
    }
    try {
      const body = known.handle(this, request.arguments ?? {});
      response.body = body instanceof Promise ? await body : body;
      this.sendResponse(response);
      known.afterwards?.(this, request.arguments ?? {});
    } catch (error) {
      const isMistake =
        error instanceof RequestError ||
        error instanceof LaunchError ||
        error instanceof ExpressionError ||
        error instanceof MachineConfigError ||
        error instanceof RangeError;
      const message = error instanceof Error ? error.message : String(error);
      if (!isMistake && error instanceof Error) this.say('stderr', `${error.stack ?? message}\n`);
      const isShown = error instanceof LaunchError || error instanceof MachineConfigError;
      this.#refuse(response, message, isShown);
    }
  }

  #refuse(response: DebugProtocol.Response, text: string, showUser: boolean): void {
    this.sendErrorResponse(response, { id: 1, format: text.replaceAll('{', '{{'), showUser });
    response.message = text;
  }

  get debuggee(): Debuggee {
    if (this.#launched === undefined) throw new RequestError('No program has been launched.');
    return this.#launched.debuggee;
  }

  get isRunning(): boolean {
    return this.#launched?.runner.isRunning ?? false;
  }

  /** Throws LaunchError or MachineConfigError; the session is as before then. */
  async launch(launch: LaunchArguments): Promise<void> {
    const guests = await openGuests(this.host, launch.program, launch);
    const debuggee = createDebuggee(guests, (domain, text) => this.#print(domain, text));
    this.#launched?.runner.abandon();
    this.#decode = createConsoleDecoder();
    const runner = createRunner(this.host, debuggee.machine, {
      stopped: (stop) => this.#stopped(stop),
      failed: (error) => this.#failed(error),
      sliced: () => this.#flushConsole(),
    });
    this.#launched = { launch, debuggee, runner };
    this.lastStop = undefined;
    this.variables.clear();
    this.told.frames.clear();
    this.told.memory.clear();
    const isDebugged = launch.noDebug !== true;
    for (const breakpoint of this.breakpoints.bind(isDebugged ? debuggee.machine : undefined)) {
      this.sendEvent(new Event('breakpoint', { reason: 'changed', breakpoint }));
    }
  }

  async restart(launch: LaunchArguments | undefined): Promise<void> {
    const again = launch ?? this.#launched?.launch;
    if (again === undefined) throw new RequestError('No program has been launched.');
    await this.launch(again);
  }

  /** The machine's first stop, or its first run. */
  begin(): void {
    const { launch, debuggee } = this.#require();
    if (launch.noDebug === true || launch.stopOnEntry === false) {
      this.go(debuggee.machine.run);
      return;
    }
    this.#report({
      threadId: threadIdOf(debuggee.machine.current.domain, debuggee.machine.current.vcpu),
      reason: 'entry',
      description: 'Paused on entry',
      explanation: entryWords(debuggee),
      hitBreakpointIds: [],
      event: undefined,
    });
  }

  go(first: Slice, next?: Slice): void {
    const { runner } = this.#require();
    if (runner.isRunning) throw new RequestError('The machine runs already; pause it first.');
    this.variables.clear();
    this.told.frames.clear();
    this.lastStop = undefined;
    runner.start(first, next);
  }

  pause(): void {
    this.#require().runner.pause();
  }

  end(): void {
    this.#launched?.runner.abandon();
    this.#flushConsole();
  }

  say(category: 'console' | 'stdout' | 'stderr' | 'important', output: string): void {
    this.sendEvent(new OutputEvent(output, category));
  }

  touched(): void {
    if (this.client?.supportsInvalidatedEvent === true) {
      this.sendEvent(new InvalidatedEvent([this.#framesAreAsTold() ? 'variables' : 'stacks']));
    }
    if (this.client?.supportsMemoryEvent === true) {
      for (const reference of this.told.memory) {
        this.sendEvent(new MemoryEvent(reference, 0, WHOLE_MEMORY));
      }
    }
    this.#viewsChanged();
  }

  #framesAreAsTold(): boolean {
    const { debuggee } = this;
    return [...this.told.frames].every(([threadId, key]) => {
      const { domain, vcpu: id } = vcpuOfThread(threadId);
      const vcpu = findVcpu(debuggee.machine, domain, id);
      return vcpu !== undefined && framesKey(framesOf(debuggee, vcpu)) === key;
    });
  }

  markChanges(view: string, rows: Row[]): Row[] {
    return rows.map((row) => {
      const key = `${view} ${row.id}`;
      const text = `${row.label} ${row.detail ?? ''}`;
      this.#rows.now.set(key, text);
      const before = this.#rows.before.get(key);
      return before === undefined || before === text ? row : { ...row, changed: true };
    });
  }

  #require(): Launched {
    if (this.#launched === undefined) throw new RequestError('No program has been launched.');
    return this.#launched;
  }

  #stopped(stop: StopReason): void {
    this.#flushConsole();
    const { machine } = this.debuggee;
    if (stop.why === 'end' && !this.#staysAfter(stop)) return;
    const isOver = machine.domains.every(({ state }) => isGone(state));
    if (stop.why === 'idle' && isOver) this.#finish(0);
    else this.#report(describeStop(stop, machine.current, (ids) => this.breakpoints.hit(ids)));
  }

  /** Tells of a domain's end; whether the session stops there to look. */
  #staysAfter(stop: Extract<StopReason, { why: 'end' }>): boolean {
    const { launch, debuggee } = this.#require();
    const { machine } = debuggee;
    const isCrash = !['poweroff', 'reboot', 'suspend', 'destroyed'].includes(stop.reason);
    const name = machine.domains.find(({ id }) => id === stop.domain)?.name ?? '';
    const words = stop.explanation === '' ? '' : `: ${stop.explanation}`;
    this.say(
      isCrash ? 'important' : 'console',
      `Domain ${stop.domain} (${name}) ended, ${stop.reason}${words}\n`,
    );
    if (isCrash && this.stopsAtCrash && launch.noDebug !== true) return true;
    if (machine.domains.every(({ state }) => isGone(state))) this.#finish(isCrash ? 4 : 0);
    else this.go(machine.run);
    return false;
  }

  #finish(exitCode: number): void {
    const { machine } = this.debuggee;
    const counts = new Map<string, number>();
    for (const { exitCounts } of machine.domains) {
      for (const [name, count] of exitCounts) counts.set(name, (counts.get(name) ?? 0) + count);
    }
    const table = [...counts]
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => `${grouped(count).padStart(12)}  ${name}\n`);
    this.say('console', `${grouped(machine.retired)} instructions; VM exits:\n${table.join('')}`);
    this.sendEvent(new Event('exited', { exitCode }));
    this.sendEvent(new TerminatedEvent());
  }

  #report(stop: Stop): void {
    const { machine } = this.debuggee;
    this.lastStop = stop;
    this.#rows = { now: new Map(), before: this.#rows.now };
    const exit = machine.exitInProgress;
    if (exit !== undefined) {
      this.sendEvent(new Event('hyperstep/documentChanged', { uri: exitUri(exit) }));
    }
    const text = stop.explanation.join('\n');
    this.sendEvent(
      new Event(
        'stopped',
        present({
          reason: stop.reason,
          description: stop.description,
          threadId: stop.threadId,
          text: text === '' ? undefined : text,
          allThreadsStopped: true,
          hitBreakpointIds:
            stop.hitBreakpointIds.length === 0 ? undefined : [...stop.hitBreakpointIds],
        }),
      ),
    );
    this.#viewsChanged();
  }

  #viewsChanged(): void {
    this.sendEvent(new Event('hyperstep/viewsChanged', { running: this.isRunning }));
  }

  /** Our own bug: the machine stays where it is, to be looked at. */
  #failed(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.say('important', `The emulator failed, which is a defect of Hyperstep.\n${text}\n`);
    const { domain, vcpu } = this.debuggee.machine.current;
    this.#report({
      threadId: threadIdOf(domain, vcpu),
      reason: 'exception',
      description: 'Emulator failure',
      explanation: [text],
      hitBreakpointIds: [],
      event: undefined,
    });
  }

  /** Console text of guests, sent at the end of a slice or before anything else is said. */
  #print(domain: number, text: string): void {
    const machine = this.#launched?.debuggee.machine;
    if (this.#consoleDomain !== domain) this.#flushConsole();
    this.#consoleDomain = domain;
    const isOne = machine === undefined || machine.domains.length === 1;
    const decoded = this.#decode(domain, text);
    this.#console += isOne ? decoded : decoded.replaceAll(/^(?=.)/gm, `(d${domain}) `);
  }

  #flushConsole(): void {
    if (this.#console !== '') this.say('stdout', this.#console);
    this.#console = '';
  }

  #log(line: string, hit: BreakpointHit): void {
    this.#flushConsole();
    const rip = hit.event?.rip;
    const guest = this.#launched?.debuggee.guests.find((one) => one.domain === hit.domain);
    const place = rip === undefined ? undefined : guest?.sources.placeOf(rip);
    this.sendEvent(
      new Event(
        'output',
        present({
          category: 'console',
          output: `${line}\n`,
          source: place === undefined ? undefined : { path: place.path },
          line: place?.line,
        }),
      ),
    );
  }
}

/** For those who wait for a guest that stands: that it does, and what to do. */
const entryWords = ({ machine }: Debuggee): string[] => [
  ...machine.domains.map(
    ({ id, name, memoryBytes, vcpus, state }) =>
      `Domain ${id} (${name}): ${sizeText(memoryBytes)}, ${vcpus.length} vCPU${vcpus.length === 1 ? '' : 's'}, ${state === 'paused' ? 'paused by the toolstack' : 'before its first instruction'}.`,
  ),
  'Continue runs; "help" tells what can be typed here.',
];

const isGone = (state: string): boolean =>
  state === 'shutdown' || state === 'crashed' || state === 'destroyed';
