/**
 * `hyperstep run PROGRAM`: runs a guest to its end, to a break or to a limit, without a debugger.
 * The guest's console goes to standard output as it is written; events go there too, as JSON
 * lines with --json, else as text on standard error.
 */
import {
  costsOf,
  createMachine,
  type DomainType,
  type EngineName,
  type Machine,
  type MachineEvent,
  type StopReason,
  type SwapDevice,
  swapBytesOf,
  totalOf,
} from '../../emulator/index.ts';
import { createConsoleDecoder } from '../console-text.ts';
import { parseEventName, parseWatchName } from '../event-names.ts';
import { type OpenedGuests, openGuests } from '../programs/open-guests.ts';
import { LaunchError } from '../programs/open-program.ts';
import { nodeHost } from './node-host.ts';
import { openSwapFile, type SwapFile } from './swap-file.ts';
import type { TypedInput } from './typed-input.ts';

export interface RunOptions {
  readonly breakOn?: readonly string[];
  readonly trace?: readonly string[];
  readonly maxInstructions?: number;
  readonly json?: boolean;
  readonly include?: readonly string[];
  /** In MiB. */
  readonly memory?: number;
  readonly hap?: boolean;
  readonly cmdline?: string;
  readonly vcpus?: number;
  readonly type?: DomainType;
  readonly engine?: EngineName;
  /** Prints what each domain has cost in simulated cycles. */
  readonly costs?: boolean;
  /** Where pages go that are swapped out; otherwise they are kept in memory. */
  readonly swapFile?: string;
}

export interface RunOutput {
  /** Standard output, as it comes. */
  write(text: string): void;
  /** Standard error, a line each. */
  complain(line: string): void;
}

export const EXIT_CODES = {
  poweroff: 0,
  badInput: 2,
  break: 3,
  crash: 4,
  limit: 5,
} as const;

const SLICE = 1_000_000;

/** Gives the process's exit code. */
export const runProgram = async (
  file: string,
  options: RunOptions,
  output: RunOutput,
  input?: TypedInput,
): Promise<number> => {
  let machine: Machine;
  let swapFile: SwapFile | undefined;
  try {
    const guests = await openGuests(nodeHost, file, { ...options, domainType: options.type });
    if (options.swapFile !== undefined) {
      swapFile = openSwapFile(options.swapFile, swapBytesOf(guests.config.domains));
    }
    machine = createWith(guests, options, output, swapFile);
  } catch (error) {
    const problems =
      error instanceof LaunchError
        ? error.problems
        : [error instanceof Error ? error.message : String(error)];
    for (const problem of problems) output.complain(problem);
    swapFile?.close();
    return EXIT_CODES.badInput;
  }
  const report = (event: MachineEvent): void => {
    if (options.json === true) output.write(`${JSON.stringify(jsonOf(event))}\n`);
    else output.complain(textOf(event));
  };
  if (options.json === true) {
    machine.events.subscribe(['console'], (event) => {
      report(event);
      return undefined;
    });
  }
  try {
    const isPlaced =
      place(machine, options.trace ?? [], output, report) &&
      place(machine, options.breakOn ?? [], output, undefined);
    if (!isPlaced) return EXIT_CODES.badInput;
    return await runToEnd(machine, options, output, report, input);
  } finally {
    input?.close();
    swapFile?.close();
  }
};

/** With several domains, each line of a console says whose it is, as Xen's own console does. */
const createWith = (
  guests: OpenedGuests,
  { json }: RunOptions,
  output: RunOutput,
  device: SwapDevice | undefined,
): Machine => {
  const swap = { policy: 'clock', ...guests.config.swap } as const;
  const config =
    device === undefined ? guests.config : { ...guests.config, swap: { ...swap, device } };
  if (json === true) return createMachine(config);
  const isOne = config.domains.length === 1;
  const decode = createConsoleDecoder();
  const prefixed = (domain: number, text: string): string =>
    isOne ? text : text.replaceAll(/^(?=.)/gm, `(d${domain}) `);
  return createMachine({
    ...config,
    console: (domain, text) => output.write(prefixed(domain, decode(domain, text))),
  });
};

/** Sets a breakpoint for each name, or a logpoint if `log` is given; false if a name is wrong. */
const place = (
  machine: Machine,
  names: readonly string[],
  output: RunOutput,
  log: ((event: MachineEvent) => void) | undefined,
): boolean => {
  const options =
    log === undefined
      ? {}
      : {
          log: ({ event }: { readonly event?: MachineEvent | undefined }) => {
            if (event !== undefined) log(event);
          },
        };
  for (const name of names) {
    const named = parseWatchName(name, machine.current.domain) ?? parseEventName(name);
    const parsed = log === undefined ? named : onceReturned(named);
    const problem = 'problem' in parsed ? parsed.problem : undefined;
    const unbound =
      'problem' in parsed ? problem : machine.breakpoints.add(parsed, options).problem;
    if (unbound === undefined) continue;
    output.complain(`${name}: ${unbound}`);
    return false;
  }
  return true;
};

/** A hypercall is told when it has returned, with its result. */
const onceReturned = <Place extends object>(place: Place): Place =>
  'event' in place && place.event === 'hypercall' && 'kind' in place
    ? {
        ...place,
        filter: { ...('filter' in place ? (place.filter as object) : {}), stage: 'return' },
      }
    : place;

const retiredOf = (machine: Machine): number =>
  machine.domains.flatMap(({ vcpus }) => [...vcpus]).reduce((sum, { retired }) => sum + retired, 0);

const runToEnd = async (
  machine: Machine,
  options: RunOptions,
  output: RunOutput,
  report: (event: MachineEvent) => void,
  input: TypedInput | undefined,
): Promise<number> => {
  const limit = options.maxInstructions ?? Number.POSITIVE_INFINITY;
  for (;;) {
    if (input !== undefined) await typeOn(machine, input);
    if (input?.isLeft === true)
      return finish(machine, options, output, 'left', EXIT_CODES.poweroff);
    const left = limit - retiredOf(machine);
    if (left <= 0) return finish(machine, options, output, 'instruction-limit', EXIT_CODES.limit);
    const stop = machine.run(Math.min(SLICE, left));
    if (stop.why === 'budget') continue;
    if (stop.why === 'idle' && input !== undefined && (await wakes(machine, input))) continue;
    if (stop.why === 'end' && !isLast(machine, stop)) continue;
    if (stop.why === 'event') report(stop.event);
    const { why, code } = endOf(stop);
    if (stop.why === 'end' && code === EXIT_CODES.crash) output.complain(stop.explanation);
    return finish(machine, options, output, why, code);
  }
};

/** Hands on what has been typed meanwhile, to the first domain. */
const typeOn = async (machine: Machine, input: TypedInput): Promise<void> => {
  await nodeHost.yieldNow();
  const [first] = machine.domains;
  if (first === undefined) return;
  if (machine.readsConsole(first.id)) input.begin();
  const text = input.take();
  if (text !== '') machine.sendConsole(first.id, text);
};

/** All wait; if one of them waits for its console, until something is typed. */
const wakes = async (machine: Machine, input: TypedInput): Promise<boolean> => {
  const isAwaited = machine.domains.some(({ id, state }) => {
    return state === 'blocked' && machine.readsConsole(id);
  });
  if (!isAwaited) return false;
  await input.wait();
  return !input.hasEnded;
};

/** Whether the end of a domain is that of the run: it crashed, or no other is left. */
const isLast = (machine: Machine, stop: Extract<StopReason, { why: 'end' }>): boolean =>
  endOf(stop).code === EXIT_CODES.crash ||
  machine.domains.every(({ state }) => ['shutdown', 'crashed', 'destroyed'].includes(state));

/** The end in a word, and the exit code. */
const endOf = (stop: StopReason): { why: string; code: number } => {
  switch (stop.why) {
    case 'end': {
      const { reason } = stop;
      if (reason === 'triple-fault') return { why: reason, code: EXIT_CODES.crash };
      const isCrash = reason === 'crash' || reason === 'watchdog';
      return { why: `shutdown:${reason}`, code: isCrash ? EXIT_CODES.crash : EXIT_CODES.poweroff };
    }
    case 'event':
      return { why: `break:${stop.event.kind}`, code: EXIT_CODES.break };
    case 'idle':
      return { why: 'idle', code: EXIT_CODES.crash };
    default:
      return { why: stop.why, code: EXIT_CODES.break };
  }
};

const finish = (
  machine: Machine,
  { json, costs }: RunOptions,
  output: RunOutput,
  why: string,
  code: number,
): number => {
  const exits: Record<string, number> = {};
  for (const { exitCounts } of machine.domains) {
    for (const [name, count] of exitCounts) exits[name] = (exits[name] ?? 0) + count;
  }
  const retired = retiredOf(machine);
  if (json === true) output.write(`${JSON.stringify({ event: 'end', why, retired, exits })}\n`);
  else for (const line of exitTable(why, retired, exits)) output.complain(line);
  if (costs === true) for (const line of costTable(machine)) output.complain(line);
  return code;
};

/** What each domain has cost: emulator/costs.ts has the numbers and where they come from. */
const costTable = (machine: Machine): string[] =>
  machine.domains
    .filter(({ id }) => id !== 0)
    .flatMap((domain) => {
      const costs = costsOf(domain);
      const row = (count: number | string, each: number | string, cycles: number, name: string) =>
        `${String(count).padStart(12)} ${String(each).padStart(8)} ${String(cycles).padStart(12)}  ${name}`;
      return [
        `${domain.name}: ${domain.type}, ${domain.paging} paging; ${totalOf(costs)} simulated cycles`,
        `${'count'.padStart(12)} ${'each'.padStart(8)} ${'cycles'.padStart(12)}`,
        ...costs.map(({ name, count, cyclesEach }) =>
          row(count, cyclesEach, count * cyclesEach, name),
        ),
        `${String(domain.tableUpdates).padStart(12)} ${' '.repeat(21)}  page-table update seen by the hypervisor`,
        ...(domain.tlbMisses === undefined
          ? ['TLB misses are counted with --engine reference.']
          : []),
      ];
    });

const exitTable = (
  why: string,
  retired: number,
  exits: Readonly<Record<string, number>>,
): string[] => [
  `${why} after ${retired} instructions; VM exits:`,
  ...Object.entries(exits)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${String(count).padStart(9)}  ${name}`),
];

/** An event with its kind as `event`; wide numbers and addresses as hexadecimal text. */
const jsonOf = (event: MachineEvent): Record<string, unknown> => {
  const { kind, domain, vcpu, retired, timeNs, rip, ...rest } = event;
  const own = Object.entries(rest).map(([key, value]) => [
    key,
    plain(ADDRESSES.has(key) && typeof value === 'number' ? BigInt(value) : value),
  ]);
  return {
    event: kind,
    domain,
    vcpu,
    retired,
    timeNs,
    rip: plain(rip),
    ...Object.fromEntries(own),
  };
};

const ADDRESSES: ReadonlySet<string> = new Set(['gpa', 'maddr', 'guestPhysical']);

const plain = (value: unknown): unknown => {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
};

const textOf = (event: MachineEvent): string => {
  const { event: kind, domain, vcpu, retired, timeNs: _time, rip, ...rest } = jsonOf(event);
  const words = Object.entries(rest).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const isFrame = (key === 'gfn' || key === 'mfn') && typeof value === 'number';
    const shown = isFrame ? `0x${value.toString(16)}` : value;
    return [`${key}=${typeof shown === 'object' ? JSON.stringify(shown) : shown}`];
  });
  return `d${domain}.v${vcpu} ${retired} ${rip} ${kind} ${words.join(' ')}`;
};
