import { expect, test } from 'vitest';
import { registerSlot } from './cpu/state.ts';
import { createMachineOn } from './create-machine.ts';
import { FIELD, type Hardware } from './hypervisor/hardware.ts';
import { createVmxHardware } from './hypervisor/vmx-hardware.ts';
import type { DomainConfig, Machine } from './machine.ts';
import { MachineConfigError } from './machine.ts';

/** What the guest does next, in place of an engine: registers, then an exit, after one instruction. */
interface Act {
  readonly reason: number;
  /** RAX, RCX, RDX, RBX by number. */
  readonly registers?: Readonly<Record<number, number>>;
  readonly qualification?: number;
  readonly gpa?: number;
}

const HYPERCALL = 18;
const TEXT_AT = 0x10_0000;
const REASON_AT = 0x10_0010;
/** console_io(write, 6, TEXT_AT), then sched_op(shutdown, REASON_AT), by the 32-bit convention. */
const HELLO: readonly Act[] = [
  { reason: 10, registers: { 0: 0x4000_0000, 1: 0 } },
  { reason: HYPERCALL, registers: { 0: 18, 3: 0, 1: 6, 2: TEXT_AT } },
  { reason: HYPERCALL, registers: { 0: 77 } },
  { reason: HYPERCALL, registers: { 0: 29, 3: 2, 1: REASON_AT } },
];

const program = new Uint8Array(32);
program.set([...'Hello\n'].map((char) => char.charCodeAt(0)));
const domain: DomainConfig = { name: 'hello', program, memoryBytes: 4 << 20 };

const boot = (acts: readonly Act[], config: Partial<DomainConfig> = {}) => {
  let text = '';
  let next = 0;
  const machine: Machine = createMachineOn(
    (memory) => {
      const perform = (): 'exit' | 'budget' => {
        const act = acts[next];
        if (act === undefined) return 'budget';
        next += 1;
        const { loaded } = hardware;
        if (loaded === undefined) throw new Error('no vCPU is loaded');
        for (const [register, value] of Object.entries(act.registers ?? {})) {
          hardware.setSlot(loaded, registerSlot(Number(register)), BigInt(value));
        }
        hardware.write(FIELD.EXIT_REASON, BigInt(act.reason));
        hardware.write(FIELD.EXIT_QUALIFICATION, BigInt(act.qualification ?? 0));
        hardware.write(FIELD.GUEST_PHYSICAL_ADDRESS, BigInt(act.gpa ?? 0));
        hardware.write(FIELD.EXIT_INSTRUCTION_LENGTH, 3n);
        return 'exit';
      };
      const hardware: Hardware = createVmxHardware(memory, {
        enter: () => undefined,
        run: perform,
        step: perform,
        retired: 1,
        setTsc: () => {},
        invalidateTranslations: () => {},
        noteWrite: () => {},
        setBreakpoints: () => {},
        windowChanged: () => {},
      });
      return hardware;
    },
    {
      domains: [{ ...domain, ...config }],
      console: (_domain, more) => {
        text += more;
      },
    },
  );
  return { machine, text: () => text };
};

test('a domain prints by console_io and powers off', () => {
  const { machine, text } = boot(HELLO);

  expect(machine.run(1000)).toMatchObject({ why: 'end', reason: 'poweroff', domain: 1 });
  expect(text()).toBe('Hello\n');
  expect(machine.domains[0]?.exitCounts).toEqual(
    new Map([
      ['CPUID', 1],
      ['VMCALL', 3],
    ]),
  );
});

test('an unknown hypercall returns -ENOSYS and is an event', () => {
  const { machine } = boot(HELLO);
  const results: (bigint | undefined)[] = [];
  machine.events.subscribe(['hypercall'], (event) => {
    if (event.kind === 'hypercall' && event.number === 77) results.push(event.result);
    return undefined;
  });
  machine.run(1000);

  expect(results.map((result) => result && BigInt.asIntN(64, result))).toEqual([undefined, -38n]);
});

test('a breakpoint stops at a VM exit, whose steps can be taken one by one', () => {
  const { machine } = boot(HELLO);
  const { id } = machine.breakpoints.add({
    kind: 'event',
    event: 'vm-exit',
    filter: { names: ['cpuid'] },
  });

  expect(machine.run(1000)).toMatchObject({ why: 'event', ids: [id] });
  expect(machine.exitInProgress?.steps[0]).toMatchObject({
    title: 'Look the leaf up',
    done: false,
  });
  machine.step(1, 0, 'into');
  expect(machine.exitInProgress?.next).toBe(1);
  expect(machine.step(1, 0, 'over')).toEqual({ why: 'step', domain: 1, vcpu: 0 });
  expect(machine.exitInProgress).toBeUndefined();
  expect(machine.domains[0]?.vcpus[0]?.register('rbx')).toBe(0x566e_6558n);
  expect(machine.domains[0]?.vcpus[0]?.rip).toBe(0x10_0003n);
});

test('PVH starts with EBX at hvm_start_info', () => {
  const { machine } = boot(HELLO, { commandLine: 'quiet' });
  const at = machine.domains[0]?.vcpus[0]?.register('rbx') ?? 0n;
  const { bytes, holes } = machine.peekMemory({ kind: 'gva', domain: 1, vcpu: 0 }, at, 62);
  const view = new DataView(bytes.buffer);

  expect(holes).toEqual([]);
  expect(view.getUint32(0, true)).toBe(0x336e_c578);
  expect(view.getUint32(48, true)).toBe(2);
  expect(String.fromCharCode(...bytes.subarray(56, 61))).toBe('quiet');
});

test('xl shows domains, pauses them, and refuses what is not there', () => {
  const { machine } = boot(HELLO);

  expect(machine.xl('pause hello').ok).toBe(true);
  expect(machine.run(1000)).toEqual({ why: 'idle' });
  expect(machine.xl('xl list').text.split('\n')[2]).toMatch(/^hello +1 +4 +1 +--p--- +0\.0$/);
  expect(machine.xl('unpause 9')).toEqual({
    ok: false,
    text: '9 is an invalid domain identifier\n',
  });
});

test('a machine saved in mid-run ends equal in a new one', () => {
  const first = boot(HELLO).machine;
  first.run(1);
  first.run(1);
  const second = boot(HELLO.slice(1)).machine;
  second.restore(first.save());
  first.run(1000);
  second.run(1000);

  expect(second.stateHash()).toBe(first.stateHash());
  expect(second.domains[0]?.consoleText).toBe('Hello\n');
});

test('a program larger than its domain is refused in words', () => {
  expect(() => boot(HELLO, { program: new Uint8Array(8 << 20) })).toThrow(MachineConfigError);
});
