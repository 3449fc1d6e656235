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
  #breakpoints: string[] = [];

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
    if (where !== '' && !this.#breakpoints.includes(where)) this.#breakpoints.push(where);
    return this.#sendBreakpoints();
  }

  async deleteBreakpoint(where: string): Promise<undefined> {
    this.#breakpoints = where === '' ? [] : this.#breakpoints.filter((one) => one !== where);
    return this.#sendBreakpoints();
  }

  async #sendBreakpoints(): Promise<undefined> {
    const body = await this.ask<DebugProtocol.SetFunctionBreakpointsResponse['body']>(
      'setFunctionBreakpoints',
      { breakpoints: this.#breakpoints.map((name) => ({ name })) },
    );
    for (const [index, { verified, message }] of (body?.breakpoints ?? []).entries()) {
      const name = this.#breakpoints[index] ?? '';
      this.print(verified ? `break at ${name}` : `not set: ${message}`);
    }
    if (body?.breakpoints.length === 0) this.print('No breakpoint is set.');
    this.#breakpoints = this.#breakpoints.filter((_, index) => body?.breakpoints[index]?.verified);
    return undefined;
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
