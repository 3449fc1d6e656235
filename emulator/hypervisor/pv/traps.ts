/**
 * What a PV guest's entries into the hypervisor lead to, step by step: hypercalls and system calls,
 * instructions that are emulated, exceptions that are handed to its kernel.
 * Source: xen/arch/x86/traps.c, pv/traps.c, pv/emul-priv-op.c.
 */
import { exceptionOf } from '../../../isa/index.ts';
import { DR6, registerSlot } from '../../cpu/state.ts';
import type { Trap } from '../../cpu/traps.ts';
import type { TrapEvent } from '../../events.ts';
import { count, type XenVcpu } from '../domain.ts';
import { type ExitSteps, hex, step } from '../exits/exit.ts';
import { FIELD } from '../hardware.ts';
import {
  decodeHypercall,
  hypercallText,
  noteHypercall,
  performHypercall,
} from '../hypercalls/dispatch.ts';
import { copyFromGuest, emit, endDomain, type Hypervisor } from '../hypervisor.ts';
import { openPending, type PendingExit } from '../pending-exit.ts';
import { bounce, bounceException, gateOf } from './bounce.ts';
import { mapLdtPage } from './descriptor-tables.ts';
import { emulateTableWrite } from './mmu/table-write.ts';
import { pvOf } from './mode.ts';
import { answerCpuid, emulatePrivileged, fetchInstruction, setTaskSwitched } from './privileged.ts';
import type { CallbackName } from './pv-vcpu.ts';

const DB = 1;
const UD = 6;
const NM = 7;
const GP = 13;
const PF = 14;
const INT80 = 0x80;
const CODE_OF_IDT = 2;
const CODE_KIND = 3;
const INT_BYTES = 2n;
const SYSCALL_BYTES = 2n;
const DR6_BS = 0x4000n;
const RFLAGS_RF = 0x1_0000n;

interface TrapContext {
  readonly hypervisor: Hypervisor;
  readonly vcpu: XenVcpu;
  readonly trap: Trap;
}

/** "#GP", "INT 80h", "SYSCALL". */
const nameOf = ({ kind, vector }: Trap): string => {
  switch (kind) {
    case 'exception':
      return `#${exceptionOf(vector)?.name ?? vector}`;
    case 'software-interrupt':
      return vector === 3 ? 'INT3' : vector === 4 ? 'INTO' : `INT ${vector.toString(16)}h`;
    case 'syscall':
      return 'SYSCALL';
    case 'sysenter':
      return 'SYSENTER';
  }
};

/** Takes the trap that the processor has made; its handler has not begun. */
export const beginTrap = (hypervisor: Hypervisor, vcpu: XenVcpu): PendingExit => {
  const { hardware } = hypervisor;
  const { trap } = hardware;
  if (trap === undefined) throw new Error('The processor has made no trap.');
  // The instructions of traps are complete, those of faults are not.
  if (trap.kind !== 'exception') vcpu.retired += 1;
  const name = nameOf(trap);
  const mode = pvOf(vcpu).isKernel ? 'kernel' : 'user';
  const event: TrapEvent = {
    kind: 'trap',
    domain: vcpu.domain.id,
    vcpu: vcpu.id,
    retired: vcpu.retired,
    timeNs: hypervisor.nowNs,
    rip: hardware.read(FIELD.GUEST_RIP),
    source: trap.kind,
    name,
    vector: trap.vector,
    errorCode: trap.errorCode,
    address: trap.vector === PF && trap.kind === 'exception' ? trap.address : undefined,
    mode,
  };
  count(vcpu.domain.exitCounts, name);
  return openPending(hypervisor, {
    vcpu,
    title: `Trap ${name}`,
    reason: name,
    number: trap.vector,
    event,
    explain: () => explain(event),
    steps: handle({ hypervisor, vcpu, trap }),
    wayBack: { title: 'Return to the guest', detail: 'IRET to privilege level 3' },
  });
};

const explain = ({ source, name, vector, errorCode, address, mode, rip }: TrapEvent): string[] => {
  const who = mode === 'kernel' ? "The guest's kernel" : 'A process of the guest';
  const known = exceptionOf(vector);
  const first =
    source === 'exception'
      ? `${who} took exception ${vector}, ${name}${known === undefined ? '' : `, ${known.title}`}; the IDT is Xen's.`
      : source === 'syscall'
        ? `${who} executed SYSCALL: ${mode === 'kernel' ? 'a hypercall' : "a system call, which is its kernel's"}.`
        : `${who} executed ${name}.`;
  return [
    first,
    `It runs at privilege level 3 without VMX; what is below it on the stack is RIP ${hex(rip)}.`,
    ...(errorCode === undefined ? [] : [`Error code ${hex(errorCode)}.`]),
    ...(address === undefined ? [] : [`CR2 ${hex(address)}.`]),
  ];
};

function* handle(context: TrapContext): ExitSteps {
  const { vcpu, trap } = context;
  switch (trap.kind) {
    case 'syscall':
      if (pvOf(vcpu).isKernel) yield* handleHypercall(context);
      else yield* callBack(context, 'syscall');
      return;
    case 'sysenter':
      yield* callBack(context, 'sysenter');
      return;
    case 'software-interrupt':
      yield* softwareInterrupt(context, trap.vector);
      return;
    case 'exception':
      yield* handleException(context);
  }
}

function* handleHypercall({ hypervisor, vcpu }: TrapContext): ExitSteps {
  yield step(
    'Read the hypercall',
    () => 'its number from RAX, its arguments from RDI, RSI, RDX, R10, R8',
  );
  const request = decodeHypercall(hypervisor, vcpu);
  noteHypercall(request, undefined);
  yield step(`Run ${hypercallText(request)}`, () => {
    const fields = Object.entries(request.fields).map(([name, value]) => `${name} = ${hex(value)}`);
    const title = request.definition?.title ?? 'Not known: it returns -ENOSYS';
    return fields.length === 0 ? `${title}.` : `${title}: ${fields.join(', ')}.`;
  });
  const result = performHypercall(request);
  if (result === undefined) {
    yield step('Go on later', () => 'the guest makes the call again, with what is left to do');
    const { hardware } = hypervisor;
    hardware.write(FIELD.GUEST_RIP, hardware.read(FIELD.GUEST_RIP) - SYSCALL_BYTES);
    return;
  }
  noteHypercall(request, result);
  yield step('Set RAX to the result', () => `${BigInt.asIntN(64, result)}`);
  hypervisor.hardware.setSlot(vcpu, registerSlot(0), result);
}

/** Ends the domain if its kernel could not be entered. */
const unless = ({ hypervisor, vcpu, trap }: TrapContext, problem: string | undefined): void => {
  if (problem === undefined) return;
  endDomain(
    hypervisor,
    vcpu,
    'crash',
    `${nameOf(trap)} at RIP ${hex(hypervisor.hardware.read(FIELD.GUEST_RIP))} could not be handed to the kernel of domain ${vcpu.domain.id}. ${problem}`,
  );
};

function* callBack(context: TrapContext, name: CallbackName): ExitSteps {
  const { hypervisor, vcpu } = context;
  const callback = pvOf(vcpu).callbacks.get(name);
  if (callback === undefined || callback.address === 0n) {
    yield* bounceStep(context, UD, undefined);
    return;
  }
  yield step(`Enter the kernel's ${name} callback`, () => hex(callback.address));
  unless(context, bounce(hypervisor, vcpu, callback));
}

function* softwareInterrupt(context: TrapContext, vector: number): ExitSteps {
  const { hypervisor, vcpu } = context;
  const gate = gateOf(vcpu, vector);
  const level = pvOf(vcpu).isKernel ? 1 : 3;
  if (gate.address === 0n || (vector !== INT80 && gate.dpl < level)) {
    yield* bounceStep(context, GP, vector * 8 + CODE_OF_IDT);
    return;
  }
  yield step("Enter the kernel's handler", () => `vector ${vector}: ${hex(gate.address)}`);
  unless(context, bounce(hypervisor, vcpu, gate));
}

function* bounceStep(
  context: TrapContext,
  vector: number,
  errorCode: number | undefined,
): ExitSteps {
  const { hypervisor, vcpu, trap } = context;
  const name = exceptionOf(vector)?.name ?? `${vector}`;
  yield step(`Hand #${name} to the kernel`, () => {
    const { address } = gateOf(vcpu, vector);
    return address === 0n ? 'it has registered no handler' : `its handler is at ${hex(address)}`;
  });
  if (hypervisor.events.wants('exception')) {
    emit(hypervisor, vcpu, {
      kind: 'exception',
      vector,
      name,
      errorCode,
      address: vector === PF ? trap.address : undefined,
    });
  }
  unless(context, bounceException(hypervisor, vcpu, vector, errorCode, trap.address));
}

function* handleException(context: TrapContext): ExitSteps {
  const { hypervisor, vcpu, trap } = context;
  const { vector, errorCode } = trap;
  switch (vector) {
    case GP:
      yield* generalProtection(context);
      return;
    case PF:
      yield* pageFault(context);
      return;
    case UD: {
      yield step('Look for the forced-emulation prefix', () => 'UD2, then the letters "xen"');
      if (!emulateForced(hypervisor, vcpu)) yield* bounceStep(context, UD, undefined);
      return;
    }
    case NM:
      if (pvOf(vcpu).taskSwitched) setTaskSwitched(hypervisor, vcpu, false);
      break;
    case DB: {
      const { hardware } = hypervisor;
      const dr6 = hardware.slot(vcpu, DR6);
      hardware.setSlot(vcpu, DR6, dr6 | trap.address);
      break;
    }
  }
  yield* bounceStep(context, vector, errorCode);
}

function* generalProtection(context: TrapContext): ExitSteps {
  const { hypervisor, vcpu, trap } = context;
  const { hardware } = hypervisor;
  const code = trap.errorCode ?? 0;
  if ((code & CODE_KIND) === CODE_OF_IDT) {
    const vector = code >> 3;
    const gate = gateOf(vcpu, vector);
    yield step('Look INT n up in the trap table', () => `vector ${vector}: ${hex(gate.address)}`);
    if (gate.address !== 0n && gate.dpl >= (pvOf(vcpu).isKernel ? 1 : 3)) {
      hardware.write(FIELD.GUEST_RIP, hardware.read(FIELD.GUEST_RIP) + INT_BYTES);
      vcpu.retired += 1;
      unless(context, bounce(hypervisor, vcpu, gate));
      return;
    }
  } else if (code === 0) {
    yield step('Emulate the instruction', () => 'if it is one that a PV guest may leave to Xen');
    const result = emulatePrivileged({ hypervisor, vcpu });
    if (result !== undefined && 'done' in result) {
      yield step('Advance RIP', () => result.done);
      advance(context, result);
      return;
    }
    if (result !== undefined) {
      yield step('Hand #PF to the kernel', () => `at ${hex(result.pageFault)}`);
      const { pageFault, errorCode } = result;
      unless(context, bounceException(hypervisor, vcpu, PF, errorCode, pageFault));
      return;
    }
  }
  yield* bounceStep(context, GP, code);
}

/** The instruction that was emulated was to be followed by #DB. */
function* singleStep(context: TrapContext): ExitSteps {
  const { hypervisor, vcpu } = context;
  const { hardware } = hypervisor;
  hardware.setSlot(vcpu, DR6, hardware.slot(vcpu, DR6) | DR6_BS);
  yield* bounceStep(context, DB, undefined);
}

const advance = (
  { hypervisor: { hardware }, vcpu }: TrapContext,
  { lengthBytes }: { readonly lengthBytes: number },
): void => {
  const rip = hardware.read(FIELD.GUEST_RIP) + BigInt(lengthBytes);
  hardware.write(FIELD.GUEST_RIP, BigInt.asUintN(64, rip));
  if (lengthBytes === 0) return;
  hardware.write(FIELD.GUEST_RFLAGS, hardware.read(FIELD.GUEST_RFLAGS) & ~RFLAGS_RF);
  vcpu.retired += 1;
};

function* pageFault(context: TrapContext): ExitSteps {
  const { hypervisor, vcpu, trap } = context;
  const errorCode = trap.errorCode ?? 0;
  yield step('Is it for the hypervisor?', () => `address ${hex(trap.address)}`);
  if (mapLdtPage(hypervisor, vcpu, trap.address)) {
    yield step('Go on', () => 'the page of the LDT is mapped now');
    return;
  }
  const write = emulateTableWrite(hypervisor, vcpu, trap.address, errorCode);
  if (write !== 'refused') {
    yield step('Go on', () => 'the write was to a page table, and its entry has been checked');
    if (write === 'single-step') yield* singleStep(context);
    return;
  }
  yield* bounceStep(context, PF, errorCode);
}

const FORCED = [0x0f, 0x0b, 0x78, 0x65, 0x6e] as const;
const CPUID_BYTES = 2;

const emulateForced = (hypervisor: Hypervisor, vcpu: XenVcpu): boolean => {
  const { hardware } = hypervisor;
  const rip = hardware.read(FIELD.GUEST_RIP);
  const prefix = copyFromGuest(hypervisor, vcpu, rip, FORCED.length);
  if (prefix === undefined || FORCED.some((byte, index) => prefix[index] !== byte)) return false;
  const at = rip + BigInt(FORCED.length);
  if (fetchInstruction(hypervisor, vcpu, at)?.definition?.mnemonic !== 'cpuid') return false;
  answerCpuid(hypervisor, vcpu);
  hardware.write(FIELD.GUEST_RIP, at + BigInt(CPUID_BYTES));
  hardware.write(FIELD.GUEST_RFLAGS, hardware.read(FIELD.GUEST_RFLAGS) & ~RFLAGS_RF);
  vcpu.retired += 1;
  return true;
};
