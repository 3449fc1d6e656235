/**
 * Builds a machine and runs it: slices of its vCPUs, their VM exits, stops.
 */

import { decode } from '../isa/index.ts';
import { emitAccesses, watchesOf } from './breakpoints/data.ts';
import { createBreakpointTable, type OwnedBreakpointTable } from './breakpoints/table.ts';
import { EventStream } from './events.ts';
import { buildDomain } from './hypervisor/build-domain.ts';
import { createHypervisor } from './hypervisor/create-hypervisor.ts';
import { DOM0_BYTES } from './hypervisor/dom0/create-dom0.ts';
import { createDom0 } from './hypervisor/dom0/dom0.ts';
import type { XenVcpu } from './hypervisor/domain.ts';
import { walkGuest } from './hypervisor/guest-walk.ts';
import { FIELD, type Hardware } from './hypervisor/hardware.ts';
import { endDomain, type Hypervisor, pagingOf, stageOf } from './hypervisor/hypervisor.ts';
import { nextTimerOf } from './hypervisor/local-apics.ts';
import { configureUnits } from './hypervisor/memory/units.ts';
import { mapMemory, viewFrame } from './hypervisor/memory-map.ts';
import {
  advanceExit,
  beginExit,
  drainExit,
  type PendingExit,
  prepareEntry,
  quickExitOf,
  viewExit,
  violationHandlerOf,
} from './hypervisor/pending-exit.ts';
import { walkDirect } from './hypervisor/pv/mmu/direct-walk.ts';
import { prepareReturn } from './hypervisor/pv/return-to-guest.ts';
import { beginTrap } from './hypervisor/pv/traps.ts';
import { SCHEDULERS } from './hypervisor/schedulers/catalog.ts';
import { shadowBytesOf } from './hypervisor/shadow/domain-shadow.ts';
import { walkShadowed } from './hypervisor/shadow/shadow-walk.ts';
import { runXl } from './hypervisor/toolstack.ts';
import { createTurns, deschedule, type Pcpu, schedule } from './hypervisor/turns.ts';
import { createMsrBitmap } from './hypervisor/vcpu-setup.ts';
import { viewDomain } from './hypervisor/views.ts';
import {
  type Machine,
  type MachineConfig,
  MachineConfigError,
  type StepTarget,
  type StopReason,
} from './machine.ts';
import { createMachineMemory, type MachineMemory } from './memory/machine-memory.ts';
import { peekMemory, pokeMemory } from './peek.ts';
import { type RunState, restoreMachine, saveMachine } from './snapshot.ts';
import { hashState } from './state-hash.ts';

/** Gives the processor over a machine's memory. */
export type HardwareFactory = (memory: MachineMemory, events: EventStream) => Hardware;

const DEFAULT_SLICE = 100_000;
/**
 * A guest that does nothing but fault retires no instruction: run() comes back after so many faults
 * all the same, and step() after so many turns.
 */
const FRUITLESS_STEPS = 20_000;
const LARGE_PAGE = 2 << 20;
/** Room for tables: of each domain, and of the machine. */
const OVERHEAD = 4 << 20;

/** A machine on the given processor; throws MachineConfigError. */
export const createMachineOn = (factory: HardwareFactory, config: MachineConfig): Machine => {
  const memory = createMachineMemory(ramBytesOf(config));
  const events = new EventStream();
  const hardware = factory(memory, events);
  const hypervisor = createHypervisor(hardware, events, config.console);
  hardware.setQuickExit?.(quickExitOf(hypervisor));
  hardware.setViolationHandler?.(violationHandlerOf(hypervisor));
  const { swap } = configureUnits(hypervisor, config);
  const msrBitmap = createMsrBitmap(hardware, hypervisor.frames);
  createDom0(hypervisor);
  for (const [index, domain] of config.domains.entries()) {
    buildDomain(hypervisor, index + 1, domain, msrBitmap);
  }
  for (const [index, { swappedPages = 0 }] of config.domains.entries()) {
    const domain = hypervisor.domains.get(index + 1);
    if (domain === undefined || swappedPages === 0) continue;
    swap.setTarget(domain, swappedPages, config.swap?.policy ?? 'clock');
    swap.settle(domain);
  }
  return new RunningMachine(hypervisor, config);
};

const ramBytesOf = ({ memoryBytes, domains }: MachineConfig): number => {
  if (domains.length === 0) throw new MachineConfigError('The machine has no domain.');
  const needed = domains.reduce(
    (sum, domain) =>
      sum +
      Math.ceil((domain.maximumMemoryBytes ?? domain.memoryBytes) / LARGE_PAGE) * LARGE_PAGE +
      LARGE_PAGE +
      shadowBytesOf(domain),
    OVERHEAD + DOM0_BYTES,
  );
  const hasM2p = domains.some(({ type }) => type === 'pv');
  return memoryBytes ?? needed + (hasM2p ? m2pBytesOf(needed) : 0);
};

/** Room for the M2P: 8 bytes for each page; from 2 MiB on it is in large pages. */
const m2pBytesOf = (ramBytes: number): number => {
  const page = ramBytes < 2 ** 30 ? 4096 : LARGE_PAGE;
  return (Math.ceil(ramBytes / 512 / page) + 1) * page;
};

class RunningMachine implements Machine {
  readonly events: EventStream;
  readonly breakpoints: OwnedBreakpointTable;
  readonly domains: Machine['domains'];
  readonly dom0: Machine['dom0'];
  readonly #hypervisor: Hypervisor;
  readonly #sliceNs: number;
  readonly #scheduler;
  readonly #turns;
  #pending: PendingExit | undefined;
  #mustEnter = true;
  #retired = 0;
  /** A breakpoint that has been reported here lets the instruction run. */
  #passed: { readonly vcpu: XenVcpu; readonly retired: number } | undefined;
  #last: XenVcpu;
  #goal: StepGoal | undefined;
  /** Whether there are data breakpoints. */
  #watches = false;
  /** Changes of P2Ms when the watches were set. */
  #p2mChanges: number | undefined;

  constructor(hypervisor: Hypervisor, config: MachineConfig) {
    this.#hypervisor = hypervisor;
    this.events = hypervisor.events;
    this.#sliceNs = config.sliceInstructions ?? DEFAULT_SLICE;
    this.#scheduler = SCHEDULERS[config.scheduler ?? 'round-robin']();
    this.#turns = createTurns(config.pcpus ?? 1, this.#sliceNs);
    this.breakpoints = createBreakpointTable(
      this.events,
      () => this,
      {
        ramBytes: hypervisor.hardware.memory.ramBytes,
        domains: () => [...hypervisor.domains.keys()],
      },
      () => {
        this.#hypervisor.hardware.setBreakpoints(this.breakpoints.addresses());
        this.#setWatches();
      },
    );
    const domains = [...hypervisor.domains.values()].filter(({ id }) => id !== 0);
    this.domains = domains.map((domain) => viewDomain(hypervisor, domain));
    const dom0 = hypervisor.dom0?.domain;
    this.dom0 = dom0 && viewDomain(hypervisor, dom0);
    const first = domains[0]?.vcpus[0];
    if (first === undefined) throw new MachineConfigError('The machine has no vCPU.');
    this.#last = first;
  }

  get retired(): number {
    return this.#retired;
  }

  get timeNs(): number {
    return this.#hypervisor.nowNs;
  }

  get current(): { readonly domain: number; readonly vcpu: number } {
    return { domain: this.#last.domain.id, vcpu: this.#last.id };
  }

  get exitInProgress() {
    return this.#pending && viewExit(this.#pending);
  }

  run: Machine['run'] = (budget) => {
    this.#forgetGoal();
    return this.#runFor(budget);
  };

  #runFor(budget: number): StopReason {
    let left = budget;
    let patience = FRUITLESS_STEPS;
    while (left > 0 && patience > 0) {
      const before = this.#retired;
      const handles = this.#pending !== undefined;
      const stop = this.#turn(left, (count) => this.#hypervisor.hardware.run(count));
      if (stop !== undefined) return stop;
      const progress = this.#retired - before;
      // Without an exit, the whole budget went into deliveries.
      if (progress > 0) patience = FRUITLESS_STEPS;
      else patience -= handles || this.#pending !== undefined ? 1 : left;
      left -= progress;
    }
    return { why: 'budget' };
  }

  step: Machine['step'] = (domain, vcpu, kind, budget = Number.MAX_SAFE_INTEGER) => {
    const target = this.#vcpu(domain, vcpu);
    const finished: StopReason = { why: 'step', domain, vcpu };
    this.#forgetGoal();
    if (this.#pending !== undefined && this.#pending.vcpu === target) {
      if (kind === 'into' && advanceExit(this.#pending)) return this.#taken() ?? finished;
      return this.#finishExit() ?? finished;
    }
    const after = kind === 'over' ? this.#afterCall(target) : undefined;
    if (after !== undefined) return this.stepTo(domain, vcpu, after, budget);
    this.#passed = { vcpu: target, retired: target.retired };
    this.#goal = {
      kind: 'instruction',
      target,
      start: target.retired,
      stopsInExit: kind === 'into',
    };
    return this.resume(budget);
  };

  stepTo: Machine['stepTo'] = (domain, vcpu, { rip, rsp }, budget = Number.MAX_SAFE_INTEGER) => {
    const target = this.#vcpu(domain, vcpu);
    const { hardware } = this.#hypervisor;
    this.#forgetGoal();
    const { id } = this.breakpoints.add(
      { kind: 'address', space: 'gva', address: rip, domain, vcpu },
      { condition: () => hardware.peekField(target, FIELD.GUEST_RSP) >= rsp },
    );
    this.#passed = { vcpu: target, retired: target.retired };
    this.#goal = { kind: 'address', target, id };
    return this.resume(budget);
  };

  resume: Machine['resume'] = (budget) => {
    const goal = this.#goal;
    const stop = goal === undefined ? this.#runFor(budget) : this.#runToGoal(goal, budget);
    if (stop.why !== 'budget') this.#forgetGoal();
    return stop;
  };

  #vcpu(domain: number, vcpu: number): XenVcpu {
    const target = this.#hypervisor.domains.get(domain)?.vcpus[vcpu];
    if (target === undefined) throw new RangeError(`There is no vCPU ${vcpu} in domain ${domain}.`);
    return target;
  }

  peekMemory: Machine['peekMemory'] = (...args) => peekMemory(this.#hypervisor, ...args);
  pokeMemory: Machine['pokeMemory'] = (...args) => {
    const problem = pokeMemory(this.#hypervisor, ...args);
    // The debugger's own writes are not the guest's.
    this.#hypervisor.hardware.takeAccesses?.();
    return problem;
  };
  xl: Machine['xl'] = (command) => {
    const result = runXl(this.#hypervisor, command);
    this.#setWatches();
    return result;
  };
  sendConsole: Machine['sendConsole'] = (domain, text) => {
    const { dom0, domains } = this.#hypervisor;
    const target = domains.get(domain);
    const isTyped = target !== undefined && dom0?.type(target, new TextEncoder().encode(text));
    return isTyped === true ? undefined : `Domain ${domain} has no console that could be typed on.`;
  };
  readsConsole: Machine['readsConsole'] = (domain) => {
    const { dom0, domains } = this.#hypervisor;
    const target = domains.get(domain);
    return target !== undefined && dom0?.usesConsole(target) === true;
  };
  xenstore: Machine['xenstore'] = (path) => this.#hypervisor.dom0?.xenstore.view.get(path);
  memoryMap: Machine['memoryMap'] = () => mapMemory(this.#hypervisor);
  frame: Machine['frame'] = (mfn) => viewFrame(this.#hypervisor, mfn);
  stateHash: Machine['stateHash'] = () => hashState(this.#hypervisor);

  walk: Machine['walk'] = (domain, vcpu, address) => {
    const target = this.#vcpu(domain, vcpu);
    if (target.domain.type === 'pv') return walkDirect(this.#hypervisor, target, address);
    const paging = pagingOf(this.#hypervisor, target);
    const { memory } = this.#hypervisor.hardware;
    return target.domain.shadow === undefined
      ? walkGuest(memory, stageOf(target.domain), paging, address, true)
      : walkShadowed(memory, target, paging, address);
  };

  program: Machine['program'] = (domain) => {
    const program = this.#hypervisor.domains.get(domain)?.program;
    if (program === undefined) throw new RangeError(`There is no domain ${domain}.`);
    return program;
  };

  /** One stretch of one vCPU, at most `limit` instructions; a stop, if there is one. */
  #turn(
    limit: number,
    execute: (count: number) => ReturnType<Hardware['run']>,
  ): StopReason | undefined {
    const hypervisor = this.#hypervisor;
    const { hardware } = hypervisor;
    if (this.#pending !== undefined) return this.#finishExit();
    const pcpu = this.#pickPcpu();
    if (pcpu?.current === undefined) return this.#taken() ?? { why: 'idle' };
    const vcpu = pcpu.current;
    // A scan or a reclaim may have moved what is watched.
    if (this.#watches && this.#p2mChanges !== hypervisor.p2mChanges) this.#setWatches();
    const early = this.#taken() ?? this.#atBreakpoint(vcpu);
    if (early !== undefined) return early;
    this.#enter(vcpu);
    if (vcpu.domain.state === 'crashed') return this.#taken();
    const due = nextTimerOf(vcpu);
    const timer = due === undefined ? limit : Math.max(1, due - pcpu.clockNs);
    const own = hypervisor.timers?.nextNs;
    const ownTimer = own === undefined ? limit : Math.max(1, own - pcpu.clockNs);
    const count = Math.min(limit, pcpu.turnNs, timer, ownTimer);
    const mayPass = this.#passed?.vcpu === vcpu && this.#passed.retired === vcpu.retired;
    hypervisor.showsExits = this.#showsExitsOf(vcpu);
    hardware.setTsc(pcpu.clockNs);
    const stop = mayPass ? hardware.step() : execute(count);
    this.#charge(pcpu, vcpu, hardware.retired);
    vcpu.retired += hardware.retired;
    if (this.#watches) emitAccesses(hypervisor, vcpu);
    if (stop === 'exit' || stop === 'trap') {
      this.#pending = (stop === 'exit' ? beginExit : beginTrap)(hypervisor, vcpu);
      return this.#taken() ?? undefined;
    }
    if (stop === 'shutdown') {
      endDomain(hypervisor, vcpu, 'triple-fault', `vCPU ${vcpu.id} shut down.`);
    }
    if (stop === 'halted') vcpu.state = 'blocked';
    // A timer may have an event delivered.
    if (Math.min(timer, ownTimer) <= hardware.retired) this.#mustEnter = true;
    return this.#taken() ?? (stop === 'breakpoint' ? this.#atBreakpoint(vcpu) : undefined);
  }

  /** Whether a VM exit of this vCPU must leave the run loop, though no event of it is wanted. */
  #showsExitsOf(vcpu: XenVcpu): boolean {
    const goal = this.#goal;
    if (this.#watches) return true;
    return goal?.kind === 'instruction' && goal.stopsInExit && goal.target === vcpu;
  }

  /** The pCPU whose turn it is, with its vCPU loaded; undefined if all wait for ever. */
  #pickPcpu(): Pcpu | undefined {
    const hypervisor = this.#hypervisor;
    const active = this.#turns.pcpus[this.#turns.active];
    if (hypervisor.yieldRequested && active !== undefined) deschedule(active, this.#scheduler);
    hypervisor.yieldRequested = false;
    const pcpu = schedule(hypervisor, this.#turns, this.#scheduler, this.#sliceNs);
    if (pcpu?.current === undefined) return pcpu;
    hypervisor.nowNs = pcpu.clockNs;
    this.#last = pcpu.current;
    if (hypervisor.hardware.loaded !== pcpu.current) {
      hypervisor.hardware.load(pcpu.current);
      this.#mustEnter = true;
    }
    return pcpu;
  }

  #enter(vcpu: XenVcpu): void {
    if (!this.#mustEnter) return;
    if (vcpu.pv !== undefined) {
      prepareReturn(this.#hypervisor, vcpu);
      this.#hypervisor.hardware.resume?.();
      this.#mustEnter = false;
      return;
    }
    prepareEntry(this.#hypervisor, vcpu);
    const problem = this.#hypervisor.hardware.enter();
    this.#mustEnter = false;
    if (problem !== undefined) {
      endDomain(this.#hypervisor, vcpu, 'crash', `VM entry failed: ${problem}`);
    }
  }

  /** Time passes with instructions. */
  #charge(pcpu: Pcpu, vcpu: XenVcpu, retired: number): void {
    pcpu.clockNs += retired;
    pcpu.turnNs -= retired;
    pcpu.usedNs += retired;
    this.#retired += retired;
    vcpu.clockNs = pcpu.clockNs;
    this.#hypervisor.nowNs = pcpu.clockNs;
  }

  /** Handles what is left of the exit. */
  #finishExit(): StopReason | undefined {
    const pending = this.#pending;
    if (pending === undefined) return undefined;
    const hypervisor = this.#hypervisor;
    const { vcpu } = pending;
    const before = vcpu.retired;
    const isDone = drainExit(hypervisor, pending);
    const pcpu = this.#turns.pcpus[vcpu.pcpu ?? this.#turns.active];
    if (pcpu !== undefined) this.#charge(pcpu, vcpu, vcpu.retired - before);
    if (isDone) {
      this.#pending = hypervisor.exitIsDue ? beginExit(hypervisor, vcpu) : undefined;
      hypervisor.exitIsDue = false;
      this.#mustEnter = true;
    }
    if (this.#watches) {
      emitAccesses(this.#hypervisor, vcpu);
      // What the hypervisor did may have changed the P2M.
      if (isDone && this.breakpoints.watches().some(({ place }) => place.space === 'gpa')) {
        this.#setWatches();
      }
    }
    return this.#taken();
  }

  /** Tells the processor what to watch; again whenever the P2M may have changed. */
  #setWatches(): void {
    const placed = this.breakpoints.watches();
    if (!this.#watches && placed.length === 0) return;
    this.#watches = placed.length > 0;
    this.#p2mChanges = this.#hypervisor.p2mChanges;
    this.#hypervisor.hardware.setWatches?.((vcpu) => watchesOf(this.#hypervisor, placed, vcpu));
  }

  /** The stop that was asked for, once. */
  #taken(): StopReason | undefined {
    const event = this.events.takeStop();
    const request = this.#hypervisor.stopRequest ?? (event && { why: 'event' as const, event });
    const ids = this.breakpoints.takeStops();
    this.#hypervisor.stopRequest = undefined;
    if (request === undefined) return undefined;
    if (request.why === 'event') return { why: 'event', event: request.event, ids };
    const domain = this.#hypervisor.domains.get(request.domain);
    return {
      why: 'end',
      domain: request.domain,
      reason: domain?.shutdownReason ?? 'destroyed',
      explanation: domain?.explanation ?? '',
    };
  }

  #atBreakpoint(vcpu: XenVcpu): StopReason | undefined {
    if (this.#passed?.vcpu === vcpu && this.#passed.retired === vcpu.retired) return undefined;
    if (this.breakpoints.addresses().length === 0) return undefined;
    const rip = this.#hypervisor.hardware.peekField(vcpu, FIELD.GUEST_RIP);
    if (!this.breakpoints.addresses().includes(rip)) return undefined;
    this.#passed = { vcpu, retired: vcpu.retired };
    const ids = this.breakpoints.hitAddress(vcpu.domain.id, vcpu.id, rip);
    if (ids.length === 0) return undefined;
    return { why: 'breakpoint', domain: vcpu.domain.id, vcpu: vcpu.id, ids };
  }

  #runToGoal(goal: StepGoal, budget: number): StopReason {
    const { target } = goal;
    const finished: StopReason = { why: 'step', domain: target.domain.id, vcpu: target.id };
    if (goal.kind === 'address') {
      const stop = this.#runFor(budget);
      if (stop.why !== 'breakpoint' || !stop.ids.includes(goal.id)) return stop;
      const others = stop.ids.filter((id) => id !== goal.id);
      return others.length === 0 ? finished : { ...stop, ids: others };
    }
    const end = this.#retired + budget;
    const { hardware } = this.#hypervisor;
    for (let patience = FRUITLESS_STEPS; this.#retired < end && patience > 0; patience -= 1) {
      const stop = this.#turn(end - this.#retired, (count) =>
        hardware.loaded === target ? hardware.step() : hardware.run(count),
      );
      if (stop !== undefined) return stop;
      const isOwnExit = this.#pending?.vcpu === target;
      if (isOwnExit ? goal.stopsInExit : target.retired !== goal.start) return finished;
    }
    return { why: 'budget' };
  }

  #forgetGoal(): void {
    if (this.#goal?.kind === 'address') this.breakpoints.remove(this.#goal.id);
    this.#goal = undefined;
  }

  /** After an instruction that is stepped over as one; undefined: it is an ordinary one. */
  #afterCall(target: XenVcpu): StepTarget | undefined {
    const { hardware } = this.#hypervisor;
    const rip = hardware.peekField(target, FIELD.GUEST_RIP);
    const space = { kind: 'gva', domain: target.domain.id, vcpu: target.id } as const;
    const { bytes } = this.peekMemory(space, rip, 15);
    const width = this.domains.find(({ id }) => id === target.domain.id)?.vcpus[target.id]
      ?.codeWidth;
    const instruction = decode(bytes, 0, rip, width ?? 64);
    if (typeof instruction === 'string' || !isSteppedOver(instruction.mnemonic, bytes))
      return undefined;
    const rsp = hardware.peekField(target, FIELD.GUEST_RSP);
    return { rip: rip + BigInt(instruction.lengthBytes), rsp };
  }

  save(): Uint8Array {
    this.#forgetGoal();
    while (this.#pending !== undefined) this.#finishExit();
    const state: RunState = {
      turns: this.#turns,
      scheduler: this.#scheduler,
      mustEnter: this.#mustEnter,
    };
    return saveMachine(this.#hypervisor, state);
  }

  restore(snapshot: Uint8Array): void {
    const state: RunState = {
      turns: this.#turns,
      scheduler: this.#scheduler,
      mustEnter: this.#mustEnter,
    };
    restoreMachine(this.#hypervisor, state, snapshot);
    this.#hypervisor.hardware.takeAccesses?.();
    this.#setWatches();
    this.#pending = undefined;
    this.#passed = undefined;
    this.#mustEnter = true;
    this.#retired = this.domains
      .flatMap(({ vcpus }) => vcpus)
      .reduce((sum, { retired }) => sum + retired, 0);
  }
}

/** What an unfinished step waits for. */
type StepGoal =
  | {
      readonly kind: 'instruction';
      readonly target: XenVcpu;
      readonly start: number;
      readonly stopsInExit: boolean;
    }
  /** `id` is the breakpoint at the address. */
  | { readonly kind: 'address'; readonly target: XenVcpu; readonly id: number };

const REPEAT_PREFIXES = new Set([0xf2, 0xf3]);
const CALLS = new Set(['call', 'int', 'int3', 'into', 'syscall', 'sysenter']);
const STRINGS = /^(?:rep\S*\s+)?(?:movs|stos|lods|scas|cmps|ins|outs)[bwdq]$/;

const isSteppedOver = (mnemonic: string, bytes: Uint8Array): boolean =>
  CALLS.has(mnemonic) || (STRINGS.test(mnemonic) && REPEAT_PREFIXES.has(bytes[0] ?? 0));
