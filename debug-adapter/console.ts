/**
 * What is typed in the Debug Console: toolstack commands, a few commands of the debugger, else an
 * expression.
 */

import type { PeekedMemory } from '../emulator/index.ts';
import type { Debuggee } from './debuggee.ts';
import { evaluateExpression, type Value } from './expressions/evaluate.ts';
import { createMachineScope } from './expressions/machine-scope.ts';
import { ExpressionError, parseExpression } from './expressions/parse.ts';
import { useText } from './frame-use.ts';
import type { Frame } from './frames.ts';
import { hex } from './numbers.ts';
import { scopesOf } from './variables/scopes.ts';

export interface ConsoleResult {
  readonly text: string;
  /** The machine may be another now. */
  readonly hasEffect: boolean;
}

interface ConsoleCommand {
  readonly usage: string;
  readonly title: string;
  readonly pattern: RegExp;
  run(debuggee: Debuggee, frame: Frame | undefined, rest: string, whole: string): ConsoleResult;
}

/** The value of an expression, seen from a frame; throws ExpressionError. */
export const evaluateIn = (debuggee: Debuggee, frame: Frame | undefined, text: string): Value => {
  const vcpu = frame?.vcpu ?? debuggee.vcpuOf(undefined);
  const scope = createMachineScope(debuggee.machine, { domain: vcpu.domain, vcpu: vcpu.id });
  const caller = frame?.kind === 'code' && !frame.isInnermost ? frame.code : undefined;
  return evaluateExpression(parseExpression(text), {
    ...scope,
    name(name) {
      if (caller !== undefined && /^rip$/i.test(name)) return caller.rip;
      if (caller !== undefined && /^rsp$/i.test(name)) return caller.rsp;
      return scope.name(name);
    },
  });
};

const looked = (text: string): ConsoleResult => ({ text, hasEffect: false });

const addressOf = (debuggee: Debuggee, frame: Frame | undefined, text: string): bigint => {
  const value = evaluateIn(debuggee, frame, text);
  return typeof value === 'bigint' ? value : 0n;
};

const COMMANDS: readonly ConsoleCommand[] = [
  {
    usage: 'xl COMMAND',
    title:
      'the toolstack: xl list, xl mem-set 1 32, xl console 1 ls (types a line), xl shutdown 1; xl help',
    pattern: /^xl\b/,
    run({ machine }, _frame, rest) {
      const { text } = machine.xl(rest);
      return { text: text.trimEnd(), hasEffect: true };
    },
  },
  {
    usage: 'xenstore-ls [PATH]',
    title: 'the store of domain 0; xenstore-read PATH, xenstore-write PATH VALUE, xenstore-rm PATH',
    pattern: /^xenstore-(?:ls|read|write|rm)\b.*$/,
    run({ machine }, _frame, _rest, whole) {
      const { text } = machine.xl(whole);
      return { text: text.trimEnd(), hasEffect: true };
    },
  },
  {
    usage: 'x[/COUNT[SIZE]] ADDRESS',
    title: 'memory at a linear address, 16 bytes a line; SIZE as in gdb: b, h, w or g',
    pattern: /^x(?:\s*\/\s*[\da-z]*)?(?=\s)/,
    run(debuggee, frame, rest) {
      const format = /^\/\s*(\d*)([a-z]*)\s+(.*)$/.exec(rest);
      if (rest.startsWith('/') && format === null) {
        throw new ExpressionError(`'x${rest}' is not understood; expected is x/4g rsp`, 0);
      }
      const [, count = '', letters = '', text = rest] = format ?? [];
      const size = /[bhwg]/.exec(letters)?.[0] ?? '';
      const vcpu = frame?.vcpu ?? debuggee.vcpuOf(undefined);
      const start = addressOf(debuggee, frame, text);
      const bytesEach = UNITS[size] ?? 1;
      const units = Math.min(Number(count || '4'), 256) * (size === '' ? 16 : 1);
      const space = { kind: 'gva', domain: vcpu.domain, vcpu: vcpu.id } as const;
      const lines: string[] = [];
      for (let done = 0; done < units * bytesEach; done += 16) {
        const at = BigInt.asUintN(64, start + BigInt(done));
        const length = Math.min(16, units * bytesEach - done);
        lines.push(memoryLine(at, debuggee.machine.peekMemory(space, at, length), bytesEach));
      }
      return looked(lines.join('\n'));
    },
  },
  {
    usage: 'registers',
    title: 'the general registers, RIP and RFLAGS; also: info registers',
    pattern: /^(?:registers|info\s+r\w*)$/,
    run(debuggee, frame) {
      const vcpu = frame?.vcpu ?? debuggee.vcpuOf(undefined);
      const rows = scopesOf({
        kind: 'code',
        vcpu,
        code: { rip: vcpu.rip, rsp: 0n, isGuess: false },
        isInnermost: true,
      })[0]?.container.rows();
      return looked((rows ?? []).map(({ name, value }) => `${name.padEnd(7)}${value}`).join('\n'));
    },
  },
  {
    usage: 'page ADDRESS',
    title: "the walk of a linear address through the guest's tables and the EPT",
    pattern: /^page\b/,
    run(debuggee, frame, rest) {
      const vcpu = frame?.vcpu ?? debuggee.vcpuOf(undefined);
      const walk = debuggee.machine.walk(vcpu.domain, vcpu.id, addressOf(debuggee, frame, rest));
      const levels = walk.levels.map(
        ({ table, entryAddress, entry, bits, frame }) =>
          `${table.padEnd(10)} at ${hex(entryAddress).padEnd(12)} ${hex(entry).padEnd(18)} ${bits.join(' ')}${frame === undefined ? '' : `; in ${useText(frame)}`}`,
      );
      return looked([...levels, walk.verdict].join('\n'));
    },
  },
  {
    usage: 'events',
    title: 'the breakpoints that are set, with their hits',
    pattern: /^events$/,
    run: ({ machine }) =>
      looked(
        machine.breakpoints
          .list()
          .map(({ id, place, hits }) => `${id}: ${describePlace(place)}, ${hits} hits`)
          .join('\n') || 'No breakpoint is set.',
      ),
  },
  {
    usage: 'help',
    title: 'this text',
    pattern: /^help$/,
    run: () =>
      looked(
        [
          ...COMMANDS.map(({ usage, title }) => `${usage.padEnd(24)} ${title}`),
          'TARGET = VALUE sets a register or memory: rax = 5, byte [rdi] = 0x41, gpa(0x1000) = 0.',
          'Anything else is an expression: rax, [rsp+8], byte [rdi], gpa(0x1000), p2m(0x10), walk(rip), vmcs.exit_reason, d2.v0.rip.',
        ].join('\n'),
      ),
  },
];

const describePlace = (place: object): string =>
  Object.entries(place)
    .map(
      ([key, value]) => `${key} ${typeof value === 'bigint' ? hex(value) : JSON.stringify(value)}`,
    )
    .join(', ');

/** Bytes of gdb's sizes. */
const UNITS: Readonly<Record<string, number>> = { b: 1, h: 2, w: 4, g: 8 };

const memoryLine = (at: bigint, { bytes, holes }: PeekedMemory, bytesEach: number): string => {
  const isHole = (index: number): boolean =>
    holes.some(({ offset, lengthBytes }) => index >= offset && index < offset + lengthBytes);
  const cells = [...bytes].map((byte, index) =>
    isHole(index) ? '??' : byte.toString(16).padStart(2, '0'),
  );
  const units: string[] = [];
  for (let index = 0; index < cells.length; index += bytesEach) {
    const unit = cells
      .slice(index, index + bytesEach)
      .reverse()
      .join('');
    units.push(bytesEach === 1 ? unit : `0x${unit}`);
  }
  const text = [...bytes]
    .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'))
    .join('');
  return `${hex(at)}  ${units.join(' ')}${bytesEach === 1 ? `  ${text}` : ''}`;
};

/** The result of a command; undefined if the text is none. Throws ExpressionError. */
export const runCommand = (
  debuggee: Debuggee,
  frame: Frame | undefined,
  text: string,
): ConsoleResult | undefined => {
  const trimmed = text.trim();
  for (const { pattern, run } of COMMANDS) {
    const found = pattern.exec(trimmed);
    if (found === null) continue;
    const word = /^[a-z]+/.exec(found[0])?.[0] ?? '';
    return run(debuggee, frame, trimmed.slice(word.length).trim(), trimmed);
  }
  return undefined;
};
