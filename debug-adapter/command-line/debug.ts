/**
 * `hyperstep debug FILE`: a debugger for the terminal. It is a client of the debug adapter like any
 * other: everything it shows has come as a DAP message.
 */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { present } from '../present.ts';
import { connectTerminal, type TerminalClient } from './terminal-client.ts';

export interface DebugOptions {
  readonly include?: readonly string[];
  /** In MiB. */
  readonly memory?: number;
  readonly hap?: boolean;
  readonly cmdline?: string;
  readonly type?: 'pv' | 'pvh';
}

interface DebugCommand {
  readonly names: readonly string[];
  readonly usage: string;
  readonly title: string;
  /** false: the session ends. */
  run(client: TerminalClient, rest: string): Promise<boolean | undefined>;
}

const go =
  (command: string) =>
  async (client: TerminalClient): Promise<undefined> => {
    await client.resume(command);
  };

/** What the Debug Console does with a text. */
const inConsole = async (client: TerminalClient, expression: string): Promise<undefined> => {
  const body = await client.ask<DebugProtocol.EvaluateResponse['body']>('evaluate', {
    expression,
    context: 'repl',
    frameId: client.frameId,
  });
  if (body !== undefined) client.print(body.result);
};

const COMMANDS: readonly DebugCommand[] = [
  { names: ['s', 'step'], usage: 's', title: 'step into, also into a VM exit', run: go('stepIn') },
  { names: ['n', 'next'], usage: 'n', title: 'step over', run: go('next') },
  { names: ['o', 'out', 'finish'], usage: 'o', title: 'step out', run: go('stepOut') },
  {
    names: ['c', 'continue'],
    usage: 'c',
    title: 'continue; Ctrl+C pauses',
    run: go('continue'),
  },
  {
    names: ['b', 'break'],
    usage: 'b WHERE',
    title:
      'break at a symbol, address, line (12, main.asm:12) or event (vm-exit:cpuid); alone, list',
    run: async (client, rest) => client.addBreakpoint(rest),
  },
  {
    names: ['d', 'delete'],
    usage: 'd WHERE',
    title: 'delete a breakpoint; alone, all',
    run: async (client, rest) => client.deleteBreakpoint(rest),
  },
  {
    names: ['r', 'registers'],
    usage: 'r [SCOPE]',
    title: 'registers; r flags, r segments, r control, r vmcs, r exit',
    run: async (client, rest) => client.showScope(rest === '' ? 'registers' : rest),
  },
  { names: ['bt', 'where'], usage: 'bt', title: 'call stack', run: (client) => client.showStack() },
  {
    names: ['l', 'list'],
    usage: 'l',
    title: 'the source around here',
    run: (client) => client.showSource(8),
  },
  {
    names: ['dis', 'disassemble'],
    usage: 'dis [ADDRESS]',
    title: 'instructions',
    run: async (client, rest) => client.showInstructions(rest),
  },
  {
    names: ['v', 'view'],
    usage: 'v VIEW',
    title: 'domains, vcpus, p2m, pageWalk [ADDRESS], memory [ADDRESS], xenstore',
    run: async (client, rest) => client.showView(rest),
  },
  {
    names: ['p', 'print'],
    usage: 'p EXPRESSION',
    title: 'p rax + 8, p [rsp], p walk(rip)',
    run: inConsole,
  },
  {
    names: ['q', 'quit', 'exit'],
    usage: 'q',
    title: 'end',
    run: () => Promise.resolve(false),
  },
  {
    names: ['h', 'help', '?'],
    usage: 'help',
    title: 'this text',
    async run(client) {
      for (const { usage, title } of COMMANDS) client.print(`${usage.padEnd(16)} ${title}`);
      client.print(
        `${'xl COMMAND'.padEnd(16)} the toolstack: xl list, xl mem-set 1 32, xl pause 1`,
      );
      client.print(`${'x/4 ADDRESS'.padEnd(16)} memory, 16 bytes a line`);
      client.print(`${'page ADDRESS'.padEnd(16)} walk of a linear address`);
      client.print('An empty line repeats the last command.');
      return undefined;
    },
  },
];

/** Gives the process's exit code: that of the guest's end, 0 after quitting. */
export const debugProgram = async (
  program: string,
  options: DebugOptions,
  input: Readable,
  output: Writable,
): Promise<number> => {
  const { type: domainType, ...rest } = options;
  const client = connectTerminal((text) => output.write(text));
  if (!(await client.start(present({ program, ...rest, domainType })))) return 2;
  const lines = createInterface({ input, output, prompt: '(hyperstep) ' });
  lines.on('SIGINT', () => client.interrupt());
  let last = '';
  if (!client.hasEnded) lines.prompt();
  for await (const line of lines) {
    const text = line.trim() === '' ? last : line.trim();
    last = text;
    if ((await obey(client, text)) === false || client.hasEnded) break;
    lines.prompt();
  }
  lines.close();
  await client.stop();
  return client.exitCode;
};

const obey = async (client: TerminalClient, text: string): Promise<boolean | undefined> => {
  if (text === '') return undefined;
  const [word = '', ...rest] = text.split(/\s+/);
  const command = COMMANDS.find(({ names }) => names.includes(word));
  const result =
    command === undefined ? inConsole(client, text) : command.run(client, rest.join(' '));
  return result;
};
