/**
 * The session by DAP messages, as a client sees it.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { expect, test } from 'vitest';
import type { AdapterHost } from './host.ts';
import type { MachineFrameResponse, MemoryMapResponse, Row } from './protocol.ts';
import { HyperstepSession } from './session.ts';

const samples = fileURLToPath(new URL('../samples', import.meta.url));

const host = (files: Readonly<Record<string, string>>): AdapterHost => ({
  readFile: async (path) =>
    files[path] === undefined ? readFile(path) : new TextEncoder().encode(files[path]),
  now: () => performance.now(),
  yieldNow: () => new Promise((resolve) => setImmediate(resolve)),
});

type Body = Readonly<Record<string, never>>;

/** A client: sends requests, keeps events, waits for the next of a kind. */
const connect = (files: Readonly<Record<string, string>> = {}) => {
  const session = new HyperstepSession(host(files));
  const events: DebugProtocol.Event[] = [];
  const answers = new Map<number, (response: DebugProtocol.Response) => void>();
  const waiting: { name: string; resolve: (event: DebugProtocol.Event) => void }[] = [];
  session.onDidSendMessage((message) => {
    const one = message as DebugProtocol.ProtocolMessage;
    if (one.type === 'response') {
      const response = one as DebugProtocol.Response;
      answers.get(response.request_seq)?.(response);
      return;
    }
    const event = one as DebugProtocol.Event;
    const index = waiting.findIndex(({ name }) => name === event.event);
    if (index >= 0) waiting.splice(index, 1)[0]?.resolve(event);
    else events.push(event);
  });
  let seq = 0;
  const raw = (command: string, args: unknown = {}): Promise<DebugProtocol.Response> => {
    seq += 1;
    const own = seq;
    return new Promise((resolve) => {
      answers.set(own, resolve);
      session.handleMessage({ seq: own, type: 'request', command, arguments: args } as never);
    });
  };
  const ask = async <T = Body>(command: string, args: unknown = {}): Promise<T> => {
    const response = await raw(command, args);
    if (!response.success) throw new Error(response.message);
    return response.body as T;
  };
  const next = async (name: string): Promise<DebugProtocol.Event> => {
    const index = events.findIndex(({ event }) => event === name);
    if (index >= 0) return events.splice(index, 1)[0] as DebugProtocol.Event;
    return new Promise((resolve) => waiting.push({ name, resolve }));
  };
  const output = (): string =>
    events
      .filter(({ event }) => event === 'output')
      .map(({ body }) => body.output)
      .join('');
  return { raw, ask, next, output, session };
};

type Client = ReturnType<typeof connect>;

const launch = async (client: Client, args: object): Promise<void> => {
  await client.ask('initialize', { adapterID: 'hyperstep', linesStartAt1: true });
  await client.ask('launch', args);
  await client.next('initialized');
};

const start = async (client: Client, args: object): Promise<DebugProtocol.Event> => {
  await launch(client, args);
  await client.ask('configurationDone');
  return client.next('stopped');
};

const hello = `${samples}/hello/main.asm`;
const cpuid = `${samples}/cpuid-exits/main.asm`;
const THREAD = 256;

const topFrame = async (client: Client): Promise<DebugProtocol.StackFrame> => {
  const { stackFrames } = await client.ask<DebugProtocol.StackTraceResponse['body']>('stackTrace', {
    threadId: THREAD,
  });
  return stackFrames[0] as DebugProtocol.StackFrame;
};

test('stops at the entry, in the source', async () => {
  const client = connect();
  const { body } = await start(client, { program: hello });

  expect(body).toMatchObject({ reason: 'entry', threadId: THREAD, allThreadsStopped: true });
  const frame = await topFrame(client);
  expect(frame.name).toBe('_start');
  expect(frame.source?.path).toMatch(/hello\/main\.asm$|include\/boot\.inc$/);
});

test('runs to the end, with the console and the exits', async () => {
  const client = connect();
  await launch(client, { program: hello, stopOnEntry: false });
  await client.ask('configurationDone');
  await client.next('terminated');

  expect(client.output()).toContain('Hello from a guest.');
  expect(client.output()).toContain('VMCALL');
});

test('an event breakpoint stops in the VM exit, whose page is the source of its frame', async () => {
  const client = connect();
  await launch(client, { program: cpuid, stopOnEntry: false });
  const { breakpoints } = await client.ask<{ breakpoints: DebugProtocol.Breakpoint[] }>(
    'hyperstep/setEventBreakpoints',
    { breakpoints: [{ name: 'vm-exit:cpuid' }] },
  );
  await client.ask('configurationDone');
  const { body } = await client.next('stopped');

  expect(breakpoints).toMatchObject([{ verified: true }]);
  expect(body).toMatchObject({
    description: 'VM exit 10 CPUID',
    hitBreakpointIds: [breakpoints[0]?.id],
  });
  const frame = await topFrame(client);
  expect(frame).toMatchObject({ name: 'VM exit 10 CPUID' });
  const { text } = await client.ask<{ text: string }>('hyperstep/document', {
    uri: frame.source?.path,
  });
  expect(text.split('\n')[frame.line - 1]).toContain('→ 1. Look the leaf up');

  await client.ask('stepIn', { threadId: THREAD });
  await client.next('stopped');
  expect(await topFrame(client)).toMatchObject({ line: frame.line + 1 });

  await client.ask('stepOut', { threadId: THREAD });
  await client.next('stopped');
  expect((await topFrame(client)).source?.path).toMatch(/\.(asm|inc)$/);
});

test('a line, a symbol and an event by name are breakpoints', async () => {
  const client = connect();
  await launch(client, { program: hello });
  const { breakpoints } = await client.ask<{ breakpoints: DebugProtocol.Breakpoint[] }>(
    'setFunctionBreakpoints',
    { breakpoints: [{ name: '_start' }, { name: 'vmexit:vmcall' }, { name: 'nowhere' }] },
  );

  expect(breakpoints.map(({ verified }) => verified)).toEqual([true, true, false]);
  expect(breakpoints[2]?.message).toContain("'nowhere'");
});

test('watched memory stops behind the instruction that accessed it', async () => {
  const client = connect();
  await start(client, { program: `${samples}/page-tables/main.asm` });
  const { dataId, accessTypes } = await client.ask<
    DebugProtocol.DataBreakpointInfoResponse['body']
  >('dataBreakpointInfo', { name: '[frame + 0x18]' });
  const set = (breakpoints: object[]) =>
    client.ask<{ breakpoints: DebugProtocol.Breakpoint[] }>('setDataBreakpoints', { breakpoints });
  const { breakpoints } = await set([
    { dataId: dataId?.replace(/^d1\.v0:/, 'gpa:d1:'), accessType: 'write' },
  ]);
  await client.ask('continue', { threadId: THREAD });
  const { body } = await client.next('stopped');

  expect(accessTypes).toEqual(['read', 'write', 'readWrite']);
  expect(breakpoints).toMatchObject([{ verified: true }]);
  // The guest writes through another mapping of the page.
  expect(body).toMatchObject({
    reason: 'data breakpoint',
    description: 'Write of 0x400000000018',
    hitBreakpointIds: [breakpoints[0]?.id],
  });
  const { description } = await client.ask<DebugProtocol.ExceptionInfoResponse['body']>(
    'exceptionInfo',
    { threadId: THREAD },
  );
  expect(description).toContain('Before: 0x0, now: 0x1234.');

  await set([{ dataId, accessType: 'read', condition: 'access.value == 0x1234' }]);
  await client.ask('continue', { threadId: THREAD });
  expect((await client.next('stopped')).body.description).toMatch(/^Read of 0x/);
});

test('registers are read and set, in parts and by expression', async () => {
  const client = connect();
  await start(client, { program: hello });
  const frame = await topFrame(client);
  const { scopes } = await client.ask<DebugProtocol.ScopesResponse['body']>('scopes', {
    frameId: frame.id,
  });
  const [registers, flags] = scopes;
  await client.ask('setVariable', {
    variablesReference: registers?.variablesReference,
    name: 'rax',
    value: '0x1234',
  });
  await client.ask('setVariable', {
    variablesReference: flags?.variablesReference,
    name: 'CF',
    value: '1',
  });
  await client.ask('setExpression', { expression: 'bl', value: '7', frameId: frame.id });

  const value = async (expression: string): Promise<string> =>
    (await client.ask<{ result: string }>('evaluate', { expression, frameId: frame.id })).result;
  expect(await value('ax + 1')).toBe('0x1235 = 4661');
  expect(await value('cf')).toBe('0x1');
  expect(await value('bl')).toBe('0x7');
  await expect(value('nothing_here')).rejects.toThrow("nothing is named 'nothing_here'");
});

test('what a VM entry would refuse can not be set', async () => {
  const client = connect();
  await start(client, { program: hello });
  const set = (expression: string, value: string) =>
    client.ask('setExpression', { expression, value });

  await expect(set('rflags', '0x80000000')).rejects.toThrow('reserved bits of RFLAGS');
  await expect(set('rip', '0x1_0000_0000')).rejects.toThrow('more than 32 bits');
  await set('rflags', '0x40');
  expect(await client.ask('evaluate', { expression: 'rflags' })).toMatchObject({
    result: '0x42 = 66',
  });
});

test('after a change by hand the client is told to look at frames, values and memory', async () => {
  const client = connect();
  await client.ask('initialize', { supportsInvalidatedEvent: true, supportsMemoryEvent: true });
  await client.ask('launch', { program: hello });
  await client.ask('configurationDone');
  await client.next('stopped');
  const { id: frameId } = await topFrame(client);
  const memoryReference = 'gpa:d1:0x2000';
  await client.ask('readMemory', { memoryReference, count: 16 });
  const areasAfter = async (expression: string, value: string): Promise<unknown> => {
    await client.ask('setExpression', { expression, value, frameId });
    return (await client.next('invalidated')).body.areas;
  };

  expect(await areasAfter('rax', '1')).toEqual(['variables']);
  expect((await client.next('memory')).body).toMatchObject({ memoryReference, offset: 0 });
  expect(await areasAfter('rip', 'long_mode')).toEqual(['stacks']);
});

test('a macro is one breakpoint and one step over, and as many steps into as instructions', async () => {
  const program = '/guests/macro.asm';
  const source = [
    'section .note.Xen note alloc',
    'dd 4, 4, 18',
    'db "Xen", 0',
    'dd _start',
    '%macro three 0',
    'inc eax',
    'inc eax',
    'inc eax',
    '%endmacro',
    'section .text',
    'bits 32',
    'global _start',
    '_start:',
    'three',
    'jmp _start',
  ].join('\n');
  const client = connect({ [program]: source });
  await start(client, { program });
  await client.ask('setBreakpoints', { source: { path: program }, breakpoints: [{ line: 14 }] });
  const after = async (command: string, args: object = {}): Promise<unknown> => {
    await client.ask(command, { threadId: THREAD, ...args });
    await client.next('stopped');
    const { result } = await client.ask<{ result: string }>('evaluate', { expression: 'eax' });
    return [(await topFrame(client)).line, result];
  };

  expect(await after('next')).toEqual([15, '0x3']);
  expect(await after('continue')).toEqual([14, '0x3']);
  expect(await after('stepIn')).toEqual([14, '0x4']);
  expect(await after('next', { granularity: 'instruction' })).toEqual([14, '0x5']);
  expect(await after('next')).toEqual([15, '0x6']);
  expect(await after('next')).toEqual([14, '0x6']);
});

test('the console sets what it names, and shows registers and memory', async () => {
  const client = connect();
  await start(client, { program: hello });
  const type = async (expression: string): Promise<string> =>
    (await client.ask<{ result: string }>('evaluate', { expression, context: 'repl' })).result;

  expect(await type('rax = 1 << 4')).toBe('rax = 0x10');
  expect(await type('rax == 0x10')).toBe('0x1');
  expect(await type('set dword [0x2000] = 0x11223344')).toBe('dword [0x2000] = 0x11223344');
  expect(await type('x/2w 0x2000')).toBe('0x2000  0x11223344 0x00000000');
  expect(await type('x /1gx 0x2000')).toBe('0x2000  0x0000000011223344');
  expect(await type('x/1 0x2000')).toMatch(/^0x2000 {2}44 33 22 11 00 .* D3"\.\.\./);
  expect(await type('info registers')).toMatch(/^rax {4}0x0000000000000010$/m);
  expect(await type('cs.limit')).toMatch(/^0xffffffff /);
  expect(await type('idtr.base + msr.lstar + ss')).toBe('0x0');
  await expect(type('x/4q 0x2000 0x1')).rejects.toThrow('not expected here');
  await expect(type('exit.reason = 1')).rejects.toThrow('can not be set');
});

test('the console takes xl and expressions', async () => {
  const client = connect();
  await start(client, { program: hello });
  const { result } = await client.ask<{ result: string }>('evaluate', {
    expression: 'xl list',
    context: 'repl',
  });

  expect(result).toMatch(/^Name +ID +Mem VCPUs/);
  expect(result).toContain('hello');
});

test('the views have rows', async () => {
  const client = connect();
  await start(client, { program: hello });
  const { views } = await client.ask<{ views: { id: string }[] }>('hyperstep/views');
  const rows = async (view: string, parent?: string) =>
    (
      await client.ask<{ rows: { id: string; label: string; detail?: string }[] }>(
        'hyperstep/rows',
        { view, parent },
      )
    ).rows;

  expect(views.map(({ id }) => id)).toEqual([
    'domains',
    'vcpus',
    'p2m',
    'pageWalk',
    'memory',
    'xenstore',
  ]);
  expect(await rows('domains')).toMatchObject([{ label: '0 Domain-0' }, { label: '1 hello' }]);
  expect(await rows('xenstore', '/local/domain/1')).toContainEqual(
    expect.objectContaining({ label: 'name', detail: 'hello' }),
  );
  expect(await rows('domains', 'd1/grants')).toMatchObject([
    { label: 'Reference 0', detail: expect.stringContaining('domain 0') },
    { label: 'Reference 1' },
  ]);
  expect((await rows('p2m', 'd1')).map(({ detail }) => detail)).toContainEqual(
    expect.stringContaining('ram'),
  );
  expect((await rows('pageWalk')).at(-1)?.label).toMatch(/\S/);
  expect((await rows('vcpus', 'd1.v0/Registers/rax')).map(({ label }) => label)).toContain('eax');
});

test('the memory view shows any address space, and goes on', async () => {
  const client = connect();
  await start(client, { program: hello });
  const rows = async (input: string, parent?: string) =>
    (
      await client.ask<{ rows: Row[] }>('hyperstep/rows', {
        view: 'memory',
        input,
        ...(parent === undefined ? {} : { parent }),
      })
    ).rows;
  const [head, first, ...rest] = await rows('gpa:rip');

  expect(head).toMatchObject({ label: 'gpa:rip = 0x100000', detail: 'gpa d1' });
  expect(first).toMatchObject({ label: '0x100000', memoryReference: 'gpa:d1:0x100000' });
  expect(first?.value).toMatch(/^89 1d( [0-9a-f]{2}){6}$/);
  const [below] = await rows('gpa:rip', rest.at(-1)?.id);
  expect(below?.label).toBe('0x100100');
  expect((await rows('rip'))[0]?.detail).toBe('linear, d1.v0');
  expect((await rows('maddr:0xffff_ffff_0000'))[1]?.detail).toBe('nothing is mapped');
  expect(await rows('no_such_name')).toMatchObject([{ icon: 'warning' }]);
});

test('a guest that spins is paused', async () => {
  const source =
    'global _start\nsection .note.Xen note alloc\ndd 4, 4, 18\ndb "Xen", 0\ndd _start\nsection .text\nbits 32\n_start: jmp _start\n';
  const client = connect({ '/guests/spin.asm': source });
  await launch(client, { program: '/guests/spin.asm', stopOnEntry: false });
  await client.ask('configurationDone');
  await new Promise((resolve) => setTimeout(resolve, 30));
  await client.ask('pause', { threadId: THREAD });
  const { body } = await client.next('stopped');

  expect(body).toMatchObject({ reason: 'pause' });
  expect(await topFrame(client)).toMatchObject({ name: '_start', line: 8 });
});

test('mistakes are sentences that name the place', async () => {
  const client = connect({ '/guests/wrong.asm': 'mov rax, [rbx\n' });
  await client.ask('initialize', {});

  await expect(client.ask('launch', {})).rejects.toThrow('"program" is missing');
  await expect(client.ask('launch', { program: '/guests/none.elf' })).rejects.toThrow(
    '/guests/none.elf: cannot be read',
  );
  await expect(client.ask('launch', { program: '/guests/wrong.asm' })).rejects.toThrow(
    '/guests/wrong.asm:1:',
  );
  await expect(client.ask('launch', { program: hello, memory: -1 })).rejects.toThrow('"memory"');
  await expect(client.ask('nonsense')).rejects.toThrow("There is no request 'nonsense'");
  await expect(client.ask('stackTrace', { threadId: 1 })).rejects.toThrow('No program');
});

/** The states of all frames, from the runs of the answer. */
const unpack = ({ runs }: MemoryMapResponse): number[] => {
  const numbers: number[] = [];
  let shift = 0;
  let value = 0;
  for (const byte of Buffer.from(runs, 'base64')) {
    value += (byte & 0x7f) * 2 ** shift;
    shift += 7;
    if (byte >= 0x80) continue;
    numbers.push(value);
    value = 0;
    shift = 0;
  }
  return numbers.flatMap((index, at) => (at % 2 === 1 ? [] : Array(numbers[at + 1]).fill(index)));
};

test('the memory map has every machine frame, and a frame tells its gfn', async () => {
  const client = connect();
  await start(client, { program: hello, memory: 8 });
  const map = await client.ask<MemoryMapResponse>('hyperstep/memoryMap');
  const states = unpack(map);

  expect(map.isRunning).toBe(false);
  expect(states.length).toBe(map.frames);
  for (const [index, { count }] of map.states.entries()) {
    expect(states.filter((one) => one === index).length).toBe(count);
  }
  const own = map.states.findIndex(({ kind, domain }) => kind === 'ram' && domain === 1);
  expect(map.states[own]).toMatchObject({ owner: 'Domain 1 (hello)', label: 'RAM' });
  const { title, rows } = await client.ask<MachineFrameResponse>('hyperstep/machineFrame', {
    mfn: states.indexOf(own),
  });
  expect(title).toContain('RAM, Domain 1 (hello)');
  expect(rows.find(({ name }) => name === 'Guest frame')?.value).toMatch(
    /gfn 0x[0-9a-f]+, ram, rwx/,
  );
});

test.each([-1, 0.5, 2 ** 40, '1'])('there is no machine frame %s', async (mfn) => {
  const client = connect();
  await start(client, { program: hello });
  const { success, message } = await client.raw('hyperstep/machineFrame', { mfn });

  expect({ success, message }).toEqual({
    success: false,
    message: `There is no machine frame ${mfn}.`,
  });
});

test.each([
  ['hello', /^64 MiB$/, /EPT permissions rwx/],
  ['pv-hello', /, by the M2P$/, /by the guest's own page tables/],
])('the P2M of %s says what maps it', async (sample, detail, mapped) => {
  const client = connect();
  await start(client, { program: `${samples}/${sample}/main.asm` });
  const [domain] = (await client.ask<{ rows: Row[] }>('hyperstep/rows', { view: 'p2m' })).rows;
  const { rows } = await client.ask<{ rows: Row[] }>('hyperstep/rows', {
    view: 'p2m',
    parent: 'd1',
  });

  expect(domain?.detail).toMatch(detail);
  const ram = rows.find(({ detail: words }) => words?.startsWith('ram'));
  expect(ram?.tooltip).toMatch(mapped);
  expect(ram?.tooltip).toContain("ram: the domain's own memory");
});
