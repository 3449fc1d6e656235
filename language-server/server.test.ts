/** The server over a pair of streams, as an editor speaks with it. */
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import {
  createConnection,
  createMessageConnection,
  type MessageConnection,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-languageserver/node';
import type { PublishDiagnosticsParams } from 'vscode-languageserver-protocol';
import { serve } from './server.ts';

const samples = fileURLToPath(new URL('../samples/', import.meta.url));

let client: MessageConnection | undefined;
afterEach(() => client?.dispose());

/** A client with one open document; asks about a place marked by `¦` in the text. */
const open = async (text: string, uri = 'file:///guest/main.asm') => {
  const up = new PassThrough();
  const down = new PassThrough();
  serve(
    createConnection(new StreamMessageReader(up), new StreamMessageWriter(down)),
    async (path) => readFile(fileURLToPath(path)).catch(() => undefined),
  );
  const connection = createMessageConnection(
    new StreamMessageReader(down),
    new StreamMessageWriter(up),
  );
  client = connection;
  const diagnostics = new Map<string, PublishDiagnosticsParams['diagnostics']>();
  let told: () => void = () => {};
  connection.onNotification(
    'textDocument/publishDiagnostics',
    (params: PublishDiagnosticsParams) => {
      diagnostics.set(params.uri, params.diagnostics);
      told();
    },
  );
  connection.listen();
  const at = text.indexOf('¦');
  const clean = at < 0 ? text : text.slice(0, at) + text.slice(at + 1);
  const before = text.slice(0, Math.max(0, at)).split('\n');
  const position = { line: before.length - 1, character: before.at(-1)?.length ?? 0 };
  await connection.sendRequest('initialize', { processId: null, rootUri: null, capabilities: {} });
  const first = new Promise<void>((resolve) => {
    told = resolve;
  });
  await connection.sendNotification('textDocument/didOpen', {
    textDocument: { uri, languageId: 'nasm', version: 1, text: clean },
  });
  const ask = <T>(method: string, more: object = {}): Promise<T> =>
    connection.sendRequest(method, { textDocument: { uri }, position, ...more });
  return { ask, diagnostics, first, uri };
};

test('one mistake is one message with its place', async () => {
  const { diagnostics, first, uri } = await open('bits 64\nnop\nmov rax, [rbx\nret\n');
  await first;

  expect(diagnostics.get(uri)).toMatchObject([
    { severity: 1, range: { start: { line: 2 } }, source: 'hyperstep' },
  ]);
});

test.each(
  readdirSync(samples, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(asm|inc)$/.test(name),
  ),
)('%s has no diagnostics', async (name) => {
  const path = `${samples}${name}`;
  const { diagnostics, first, uri } = await open(
    readFileSync(path, 'utf8'),
    pathToFileURL(path).href,
  );
  await first;

  expect(diagnostics.get(uri)).toEqual([]);
});

test('hovers tell of instructions, registers, names and numbers', async () => {
  const hover = async (text: string): Promise<string> => {
    const { ask } = await open(text);
    return (await ask<{ contents: { value: string } }>('textDocument/hover')).contents.value;
  };

  expect(await hover('bits 64\ncpu¦id\n')).toMatch(/CPUID[\s\S]*VM exit/);
  expect(await hover('bits 64\nadd r¦ax, 1\n')).toContain('64-bit general-purpose register');
  expect(await hover('bits 64\n; Says hello.\nhello: ret\ncall he¦llo\n')).toContain('Says hello.');
  expect(await hover('bits 64\nmov eax, 0x10¦00\n')).toContain('`4096`');
});

test('a name leads to its definition and to its uses', async () => {
  const { ask } = await open('bits 64\nloop_here: nop\njmp loop_¦here\njmp loop_here\n');

  expect(await ask('textDocument/definition')).toMatchObject([
    { range: { start: { line: 1, character: 0 } } },
  ]);
  expect(
    await ask('textDocument/references', { context: { includeDeclaration: true } }),
  ).toHaveLength(3);
});

test('the outline has local labels below their label', async () => {
  const { ask } = await open('bits 64\nmain:\n.loop: jmp .loop\nsize equ 4\n');

  expect(await ask('textDocument/documentSymbol')).toMatchObject([
    { name: 'main', children: [{ name: '.loop' }] },
    { name: 'size' },
  ]);
});

test('completion knows what may stand where', async () => {
  const labels = async (text: string): Promise<string[]> => {
    const { ask } = await open(text);
    return (await ask<{ label: string }[]>('textDocument/completion')).map(({ label }) => label);
  };

  expect(await labels('bits 64\n    vm¦\n')).toContain('vmcall');
  expect(await labels('bits 64\nmain: mov r¦\n')).toEqual(expect.arrayContaining(['rax', 'main']));
  expect(await labels('%de¦\n')).toContain('define');
  expect(await labels('nop ; a comment ¦\n')).toEqual([]);
});

test.each([
  ['one of several sources', 'bits 64\nextern puts\nglobal main\nmain: call puts\nret\n'],
  ['a boot sector', 'org 0x7c00\nbits 16\nmov ax, [message]\nmessage: dw 1\n'],
  [
    'a local symbol that nobody defines here',
    'bits 64\nextern a, b\nmov rax, [a + 8]\nlea rdi, [rel b]\n',
  ],
  [
    'a flat image that does not say so',
    'section .data vstart=0x10\nd: dw d, section..data.start\n',
  ],
  ['code of 16 bits without an origin', 'bits 16\nmov ax, [message]\nmessage: dw 1\n'],
  ['code that is linked dynamically', 'call f wrt ..plt\nmov rax, [rel f wrt ..gotpcrel]\nf:\n'],
  ['a macro of an instruction', 'bits 64\n%macro ret 0\nleave\nret\n%endmacro\nret\n'],
  [
    'parameters and locals of a procedure',
    'bits 64\n%push p\n%stacksize flat64\n%assign %$localsize 0\n%local n:qword\nmov [n], rax\n%pop\n',
  ],
])('%s has no false errors', async (_name, text) => {
  const { diagnostics, first, uri } = await open(text);
  await first;

  expect(diagnostics.get(uri)).toEqual([]);
});
