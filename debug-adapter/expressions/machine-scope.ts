/**
 * What an expression may name on a machine, seen from one vCPU: registers and their parts,
 * `rflags` bits by name, `fs.base`, `idtr.limit`, `msr.lstar`, symbols, `exit.*`, `hypercall.*`, `vmcs.*`, another vCPU's registers as
 * `d2.v0.rip`, `access.*` of watched memory, and the functions gpa, maddr, walk and p2m. It only peeks.
 */
import type { AddressSpace, Machine, MachineEvent, Vcpu } from '../../emulator/index.ts';
import type { Scope, Value } from './evaluate.ts';

export interface Place {
  readonly domain: number;
  readonly vcpu: number;
  /** The event that is looked at, if any: `exit.*`, `hypercall.*` and `access.*` are its fields. */
  readonly event?: MachineEvent;
}

interface Part {
  readonly register: string;
  readonly shift: bigint;
  readonly width: number;
}

/** SDM Vol. 1, 3.4.1.1, General-Purpose Registers in 64-Bit Mode: every part by its name. */
function generalRegisterParts(): ReadonlyMap<string, Part> {
  const parts = new Map<string, Part>();
  const add = (name: string, register: string, width: number, shift = 0n) =>
    parts.set(name, { register, shift, width });
  for (const letter of ['a', 'b', 'c', 'd']) {
    add(`e${letter}x`, `r${letter}x`, 32);
    add(`${letter}x`, `r${letter}x`, 16);
    add(`${letter}l`, `r${letter}x`, 8);
    add(`${letter}h`, `r${letter}x`, 8, 8n);
  }
  for (const name of ['si', 'di', 'bp', 'sp']) {
    add(`e${name}`, `r${name}`, 32);
    add(name, `r${name}`, 16);
    add(`${name}l`, `r${name}`, 8);
  }
  for (let number = 8; number < 16; number++) {
    add(`r${number}d`, `r${number}`, 32);
    add(`r${number}w`, `r${number}`, 16);
    add(`r${number}b`, `r${number}`, 8);
  }
  add('eip', 'rip', 32);
  add('eflags', 'rflags', 32);
  return parts;
}

const PARTS = generalRegisterParts();

/** SDM Vol. 1, 3.4.3, EFLAGS Register: bit positions. */
const FLAGS: Readonly<Record<string, bigint>> = {
  cf: 0n,
  pf: 2n,
  af: 4n,
  zf: 6n,
  sf: 7n,
  tf: 8n,
  if: 9n,
  df: 10n,
  of: 11n,
};

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function registerOf(vcpu: Vcpu, written: string): bigint | undefined {
  const name = written.toLowerCase();
  const part = PARTS.get(name);
  if (part !== undefined) {
    const whole = vcpu.register(part.register);
    return whole === undefined ? undefined : BigInt.asUintN(part.width, whole >> part.shift);
  }
  const bit = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined;
  if (bit !== undefined) {
    const flags = vcpu.register('rflags');
    return flags === undefined ? undefined : (flags >> bit) & 1n;
  }
  return vcpu.register(name);
}

/** `cs` is its selector; `fs.base`, `cs.limit`, `ss.access` what the processor has cached. */
function segmentPart(vcpu: Vcpu, written: string): bigint | undefined {
  const [name = '', part = 'selector'] = written.toLowerCase().split('.', 2);
  const segment = vcpu.segments().find((one) => one.name === name);
  switch (part) {
    case 'selector':
      return segment && BigInt(segment.selector);
    case 'base':
      return segment?.base;
    case 'limit':
      return segment && BigInt(segment.limit);
    case 'access':
      return segment && BigInt(segment.accessRights);
    default:
      return undefined;
  }
}

function eventField(machine: Machine, place: Place, name: string): Value | undefined {
  const [group, field = ''] = name.toLowerCase().split('.', 2);
  const event = place.event ?? machine.exitInProgress?.event;
  if (group === 'exit' && event?.kind === 'vm-exit') {
    if (field === 'name') return event.reason;
    if (field === 'reason') return BigInt(event.number);
    if (field === 'qualification') return event.qualification;
    if (field === 'gpa') return BigInt(event.guestPhysical);
    if (field === 'gva') return BigInt(event.guestLinear);
    if (field === 'length') return BigInt(event.instructionLength);
    // CPUID takes its leaf in EAX; no other exit has one.
    if (field === 'leaf' && event.reason === 'CPUID') {
      const vcpu = vcpuOf(machine, event.domain, event.vcpu);
      return vcpu && registerOf(vcpu, 'eax');
    }
  }
  if (group === 'hypercall' && event?.kind === 'hypercall') {
    if (field === 'name') return event.name;
    if (field === 'number') return BigInt(event.number);
    if (field === 'operation') return event.operation;
    if (field === 'result') return event.result;
    const argument = /^arg([0-9])$/.exec(field)?.[1];
    if (argument !== undefined) return event.args[Number(argument)];
  }
  if (group === 'access' && event?.kind === 'memory-access') {
    if (field === 'value') return event.value;
    if (field === 'old') return event.oldValue;
    if (field === 'gva') return event.gva;
    if (field === 'maddr') return BigInt(event.maddr);
    if (field === 'length') return BigInt(event.lengthBytes);
    if (field === 'write') return event.write ? 1n : 0n;
    if (field === 'by') return event.by;
  }
  return undefined;
}

function vcpuOf(machine: Machine, domain: number, vcpu: number): Vcpu | undefined {
  return machine.domains.find(({ id }) => id === domain)?.vcpus.find(({ id }) => id === vcpu);
}

/** The names of a machine as they mean at `place`; nothing asked of it changes the machine. */
export function createMachineScope(machine: Machine, place: Place): Scope {
  const vcpu = vcpuOf(machine, place.domain, place.vcpu);
  const domain = machine.domains.find(({ id }) => id === place.domain);

  const peek = (space: AddressSpace, address: bigint, size: number): bigint | undefined => {
    const { bytes, holes } = machine.peekMemory(space, address, size);
    return holes.length === 0 ? littleEndian(bytes) : undefined;
  };

  return {
    name(name) {
      const other = /^d(\d+)\.v(\d+)\.(\w+)$/i.exec(name);
      if (other !== null) {
        const found = vcpuOf(machine, Number(other[1]), Number(other[2]));
        return found && registerOf(found, other[3] ?? '');
      }
      if (/^vmcs\./i.test(name)) {
        const wanted = normalized(name.slice('vmcs.'.length));
        const fields = vcpu?.vmcs().flatMap((group) => group.fields) ?? [];
        return fields.find((field) => normalized(field.name) === wanted)?.value;
      }
      const register = vcpu && (registerOf(vcpu, name) ?? segmentPart(vcpu, name));
      if (register !== undefined) return register;
      const field = eventField(machine, place, name);
      if (field !== undefined || domain === undefined) return field;
      return machine.program(domain.id).symbols.find((symbol) => symbol.name === name)?.address;
    },
    call(name, [argument]) {
      if (typeof argument !== 'bigint') return undefined;
      switch (name.toLowerCase()) {
        case 'gpa':
          return peek({ kind: 'gpa', domain: place.domain }, argument, 8);
        case 'maddr':
          return peek({ kind: 'maddr' }, argument, 8);
        case 'walk':
          return vcpu && machine.walk(place.domain, place.vcpu, argument).verdict;
        case 'p2m': {
          const gfn = Number(argument);
          const range = domain
            ?.p2m()
            .find(({ first, count }) => gfn >= first && gfn < first + count);
          return range?.mfn === undefined ? undefined : BigInt(range.mfn + gfn - range.first);
        }
        default:
          return undefined;
      }
    },
    read: (address, size) => vcpu && peek({ kind: 'gva', ...place }, address, size),
  };
}

/** The SDM writes "Exit reason", an expression exit_reason. */
function normalized(fieldName: string): string {
  return fieldName.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}
