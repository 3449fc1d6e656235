/**
 * A DAP client that prints: it keeps what a terminal shows of a session and its stops.
 */
import { readFileSync } from 'node:fs';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { fileNameOf } from '../../assembler/index.ts';
import type { DocumentResponse, LaunchArguments, Row, RowsResponse } from '../protocol.ts';
import { HyperstepSession } from '../session.ts';
import { nodeHost } from './node-host.ts';

export interface TerminalClient {
  readonly exitCode: number;
  readonly hasEnded: boolean;
  /** Of the innermost frame, while the machine stands. */
  readonly frameId: number | undefined;
  print(line: string): void;
  /** Launches and waits for the first stop; false if the program was refused. */
  start(launch: LaunchArguments): Promise<boolean>;
  stop(): Promise<void>;
  interrupt(): void;
  /** undefined after an error, which has been printed. */
  ask<T>(command: string, args?: object): Promise<T | undefined>;
  /** A request that lets the machine go on; resolves when it stands again, or has ended. */
  resume(command: string): Promise<void>;
  addBreakpoint(where: string): Promise<undefined>;
  deleteBreakpoint(where: string): Promise<undefined>;
  showScope(name: string): Promise<undefined>;
  showStack(): Promise<undefined>;
  showSource(around: number): Promise<undefined>;
  showInstructions(address: string): Promise<undefined>;
  showView(text: string): Promise<undefined>;
}

/** A line: `main.asm:12`, or `12` in the source at hand. */
const LINE = /^(?:([^:]+\.[^:]+):)?([1-9]\d*)$/;

export const connectTerminal = (write: (text: string) => void): TerminalClient =>
  new Terminal(write);

class Terminal implements TerminalClient {
  exitCode = 0;
  hasEnded = false;
  readonly #session = new HyperstepSession(nodeHost);
  readonly #write: (text: string) => void;
  readonly #answers = new Map<number, (response: DebugProtocol.Response) => void>();
  #sequence = 0;
  #threadId = 0;
  #frame: DebugProtocol.StackFrame | undefined;
  #initialized: () => void = () => {};
  #stands: () => void = () => {};
  /** Breakpoints by name: symbols, addresses, events. */
  #names: string[] = [];
  #lines: readonly { readonly name: string; readonly path: string; readonly line: number }[] = [];

  constructor(write: (text: string) => void) {
    this.#write = write;
    this.#session.onDidSendMessage((message) =>
      this.#take(message as DebugProtocol.ProtocolMessage),
    );
  }

  get frameId(): number | undefined {
    return this.#frame?.id;
  }

  print(line: string): void {
    this.#write(`${line}\n`);
  }

  async start(launch: LaunchArguments): Promise<boolean> {
    await this.ask('initialize', { adapterID: 'hyperstep', clientID: 'terminal' });
    const initialized = new Promise<void>((resolve) => {
      this.#initialized = resolve;
    });
    const launched = await this.#request('launch', launch);
    if (!launched.success) {
      this.print(launched.message ?? 'The program cannot be launched.');
      return false;
    }
    await initialized;
    await this.ask('setExceptionBreakpoints', { filters: ['guest-crash'] });
    await this.resume('configurationDone');
    return true;
  }

  async stop(): Promise<void> {
    await this.#request('disconnect', {});
  }

  interrupt(): void {
    this.#request('pause', { threadId: this.#threadId }).catch(() => {});
  }

  async ask<T>(command: string, args: object = {}): Promise<T | undefined> {
    const response = await this.#request(command, args);
    if (response.success) return response.body as T;
    this.print(response.message ?? `${command} failed.`);
    return undefined;
  }

  async resume(command: string): Promise<void> {
    const stands = new Promise<void>((resolve) => {
      this.#stands = resolve;
    });
    const response = await this.#request(command, { threadId: this.#threadId });
    if (!response.success) {
      this.print(response.message ?? `${command} failed.`);
      return;
    }
    await stands;
    if (!this.hasEnded) await this.#showStop();
  }

  async addBreakpoint(where: string): Promise<undefined> {
    const line = LINE.exec(where);
    if (line !== null) return this.#addLine(this.#nameOf(where), line[1] ?? '', Number(line[2]));
    if (where !== '' && !this.#names.includes(where)) this.#names.push(where);
    await this.#sendNames();
    return this.#sayNone();
  }

  async deleteBreakpoint(where: string): Promise<undefined> {
    const name = this.#nameOf(where);
    const kept = this.#lines.filter((one) => where !== '' && one.name !== name);
    const paths = new Set(this.#lines.filter((one) => !kept.includes(one)).map(({ path }) => path));
    this.#lines = kept;
    for (const path of paths) await this.#sendLines(path);
    this.#names = where === '' ? [] : this.#names.filter((one) => one !== where);
    await this.#sendNames();
    return this.#sayNone();
  }

  /** A breakpoint's name in lists: `12` is a line of the source at hand. */
  #nameOf(where: string): string {
    const [, file, line] = LINE.exec(where) ?? [];
    const here = fileNameOf(this.#frame?.source?.path ?? '');
    return line !== undefined && file === undefined ? `${here}:${line}` : where;
  }

  #sayNone(): undefined {
    for (const { name } of this.#lines) this.print(`break at ${name}`);
    if (this.#lines.length + this.#names.length === 0) this.print('No breakpoint is set.');
    return undefined;
  }

  /** A line of the source that the debugger stands in, or of another one by its name. */
  async #addLine(name: string, file: string, line: number): Promise<undefined> {
    const body = await this.ask<DebugProtocol.LoadedSourcesResponse['body']>('loadedSources');
    const here = this.#frame?.source?.path;
    const paths = (body?.sources ?? []).map(({ path = '' }) => path);
    const path = file === '' ? here : paths.find((one) => one === file || one.endsWith(`/${file}`));
    if (path === undefined) {
      const known = paths.map(fileNameOf).join(', ') || 'none with lines';
      this.print(`not set: no source is named ${file || 'here'}; there are ${known}`);
      return undefined;
    }
    this.#lines = [...this.#lines.filter((one) => one.name !== name), { name, path, line }];
    for (const [at, { verified, message, line: actual }] of (
      await this.#sendLines(path)
    ).entries()) {
      const added = this.#lines.filter((one) => one.path === path)[at];
      if (added?.name !== name) continue;
      if (verified) this.print(`break at ${fileNameOf(path)}:${actual ?? line}`);
      else {
        this.print(`not set: ${message}`);
        this.#lines = this.#lines.filter((one) => one.name !== name);
      }
    }
    return undefined;
  }

  async #sendLines(path: string): Promise<readonly DebugProtocol.Breakpoint[]> {
    const breakpoints = this.#lines
      .filter((one) => one.path === path)
      .map(({ line }) => ({ line }));
    const body = await this.ask<DebugProtocol.SetBreakpointsResponse['body']>('setBreakpoints', {
      source: { path },
      breakpoints,
    });
    return body?.breakpoints ?? [];
  }

  async #sendNames(): Promise<void> {
    const body = await this.ask<DebugProtocol.SetFunctionBreakpointsResponse['body']>(
      'setFunctionBreakpoints',
      { breakpoints: this.#names.map((name) => ({ name })) },
    );
    for (const [index, { verified, message }] of (body?.breakpoints ?? []).entries()) {
      const name = this.#names[index] ?? '';
      this.print(verified ? `break at ${name}` : `not set: ${message}`);
    }
    this.#names = this.#names.filter((_, index) => body?.breakpoints[index]?.verified);
  }

  async showScope(name: string): Promise<undefined> {
    const body = await this.ask<DebugProtocol.ScopesResponse['body']>('scopes', {
      frameId: this.frameId,
    });
    const wanted = name.toLowerCase();
    const scope = body?.scopes.find((one) =>
      one.name.toLowerCase().replace('vm exit', 'exit').startsWith(wanted),
    );
    if (scope === undefined) {
      this.print(`There are ${(body?.scopes ?? []).map((one) => one.name).join(', ')}.`);
      return undefined;
    }
    for (const variable of await this.#variables(scope.variablesReference)) {
      this.print(`${variable.name.padEnd(8)} ${variable.value}`);
      if (!scope.expensive) continue;
      for (const field of await this.#variables(variable.variablesReference)) {
        this.print(`  ${field.name.padEnd(44)} ${field.value}`);
      }
    }
    return undefined;
  }

  async #variables(variablesReference: number): Promise<readonly DebugProtocol.Variable[]> {
    const body = await this.ask<DebugProtocol.VariablesResponse['body']>('variables', {
      variablesReference,
    });
    return body?.variables ?? [];
  }

  async showStack(): Promise<undefined> {
    for (const { name, source, line } of await this.#frames()) {
      this.print(`${name.padEnd(28)} ${source?.name ?? ''}:${line}`);
    }
    return undefined;
  }

  async #frames(): Promise<readonly DebugProtocol.StackFrame[]> {
    const body = await this.ask<DebugProtocol.StackTraceResponse['body']>('stackTrace', {
      threadId: this.#threadId,
    });
    return body?.stackFrames ?? [];
  }

  async showSource(around: number): Promise<undefined> {
    if (this.#frame === undefined) return undefined;
    const { source, line } = this.#frame;
    const lines = (await this.#textOf(source?.path ?? '')).split('\n');
    for (let number = Math.max(1, line - around); number <= line + around; number += 1) {
      const text = lines[number - 1];
      if (text === undefined) break;
      this.print(`${number === line ? '→' : ' '}${String(number).padStart(5)}  ${text}`);
    }
    return undefined;
  }

  async #textOf(path: string): Promise<string> {
    if (/^hyperstep-\w+:/.test(path)) {
      return (await this.ask<DocumentResponse>('hyperstep/document', { uri: path }))?.text ?? '';
    }
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  }

  async showInstructions(text: string): Promise<undefined> {
    const address = text === '' ? 'rip' : text;
    const value = await this.ask<DebugProtocol.EvaluateResponse['body']>('evaluate', {
      expression: address,
      frameId: this.frameId,
    });
    if (value?.memoryReference === undefined) return undefined;
    const body = await this.ask<DebugProtocol.DisassembleResponse['body']>('disassemble', {
      memoryReference: value.memoryReference,
      instructionCount: 12,
    });
    for (const row of body?.instructions ?? []) {
      if (row.symbol !== undefined) this.print(`${row.symbol}:`);
      const bytes = (row.instructionBytes ?? '').padEnd(30);
      this.print(`  ${row.address.padEnd(12)} ${bytes} ${row.instruction}`);
    }
    return undefined;
  }

  async showView(text: string): Promise<undefined> {
    const [view = '', ...rest] = text.split(' ');
    await this.#showRows(view === '' ? 'domains' : view, undefined, rest.join(' '), '');
    return undefined;
  }

  async #showRows(
    view: string,
    parent: string | undefined,
    input: string,
    indent: string,
  ): Promise<void> {
    const body = await this.ask<RowsResponse>('hyperstep/rows', {
      view,
      input,
      ...(parent === undefined ? {} : { parent }),
    });
    for (const row of body?.rows ?? []) {
      this.print(`${indent}${textOfRow(row)}`);
      if (row.expanded === true) await this.#showRows(view, row.id, input, `${indent}  `);
    }
  }

  async #showStop(): Promise<void> {
    this.#frame = (await this.#frames())[0];
    const name = fileNameOf(this.#frame?.source?.path ?? '');
    this.print(`${this.#frame?.name ?? ''} at ${name}:${this.#frame?.line ?? 0}`);
    await this.showSource(/^hyperstep-exit:/.test(this.#frame?.source?.path ?? '') ? 40 : 1);
  }

  #request(command: string, args: object): Promise<DebugProtocol.Response> {
    this.#sequence += 1;
    const seq = this.#sequence;
    return new Promise((resolve) => {
      this.#answers.set(seq, resolve);
      const request = { seq, type: 'request', command, arguments: args };
      this.#session.handleMessage(request as Parameters<HyperstepSession['handleMessage']>[0]);
    });
  }

  #take(message: DebugProtocol.ProtocolMessage): void {
    if (message.type === 'response') {
      const response = message as DebugProtocol.Response;
      this.#answers.get(response.request_seq)?.(response);
      this.#answers.delete(response.request_seq);
      return;
    }
    const { event, body } = message as DebugProtocol.Event;
    switch (event) {
      case 'initialized':
        this.#initialized();
        break;
      case 'output':
        this.#write(body.output);
        break;
      case 'stopped':
        this.#threadId = body.threadId;
        this.print(`${body.description}${body.text === undefined ? '' : `\n${body.text}`}`);
        this.#stands();
        break;
      case 'exited':
        this.exitCode = body.exitCode;
        break;
      case 'terminated':
        this.hasEnded = true;
        this.#stands();
        break;
      default:
    }
  }
}

const textOfRow = ({ label, detail }: Row): string =>
  detail === undefined ? label : `${label.padEnd(24)} ${detail}`;
