/**
 * The adapter on a TCP port, by the DAP client that adapters are tested with.
 */
import { createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { DebugClient } from '@vscode/debugadapter-testsupport';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { serveStream } from './dap.ts';

const sample = (name: string): string =>
  fileURLToPath(new URL(`../../samples/${name}/main.asm`, import.meta.url));

let server: Server;
let client: DebugClient;
beforeEach(async () => {
  server = createServer((socket) => serveStream(socket, socket, () => socket.destroy()));
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  client = new DebugClient('node', '', 'hyperstep');
  await client.start(port);
});
afterEach(async () => {
  await client.stop();
  server.close();
});

test('initialize tells capabilities and filters', async () => {
  const { body } = await client.initializeRequest();

  expect(body).toMatchObject({
    supportsConfigurationDoneRequest: true,
    supportsFunctionBreakpoints: true,
    supportsDisassembleRequest: true,
    supportsReadMemoryRequest: true,
  });
  expect(body?.exceptionBreakpointFilters).toHaveLength(8);
});

test('a line breakpoint is hit, and the next step is on the next line', async () => {
  const program = sample('hello');
  await client.hitBreakpoint({ program, stopOnEntry: false }, { path: program, line: 8 });
  const [stopped] = await Promise.all([
    client.waitForEvent('stopped'),
    client.stepInRequest({ threadId: 256 }),
  ]);

  expect(stopped.body.reason).toBe('step');
});

test('the guest runs to its end', async () => {
  await Promise.all([
    client.configurationSequence(),
    client.launch({ program: sample('hello'), stopOnEntry: false }),
    client.assertOutput('stdout', 'Hello from a guest.'),
    client.waitForEvent('terminated'),
  ]);
});

test('memory is read, disassembled and written', async () => {
  await Promise.all([
    client.configurationSequence(),
    client.launch({ program: sample('hello') }),
    client.waitForEvent('stopped'),
  ]);
  const { body: disassembly } = await client.disassembleRequest({
    memoryReference: '0x100000',
    instructionOffset: -8,
    instructionCount: 12,
  });
  await client.customRequest('writeMemory', { memoryReference: '0x101000', data: 'AQID' });
  const { body: memory } = await client.customRequest('readMemory', {
    memoryReference: 'gpa:d1:0x101000',
    count: 3,
  });

  expect(disassembly?.instructions).toHaveLength(12);
  expect(disassembly?.instructions[8]).toMatchObject({
    address: '0x100000',
    symbol: '_start',
    instruction: expect.stringContaining('mov'),
  });
  expect(memory?.data).toBe('AQID');
});
