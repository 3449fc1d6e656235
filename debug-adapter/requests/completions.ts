/** completions: registers, symbols and commands for the console. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { frameOf } from '../frames.ts';
import { scopesOf } from '../variables/scopes.ts';
import { defineRequest } from './request.ts';

const WORDS = [
  'xl list',
  'xl vcpu-list',
  'xl pause',
  'xl unpause',
  'xl mem-set',
  'xl destroy',
  'xl shutdown',
  'xl reboot',
  'xl mem-max',
  'xl console',
  'xl info',
  'xenstore-ls',
  'xenstore-read',
  'xenstore-write',
  'xenstore-rm',
  'page',
  'events',
  'help',
  'gpa',
  'maddr',
  'walk',
  'p2m',
  'exit.reason',
  'exit.qualification',
  'exit.leaf',
  'hypercall.name',
];
const LIMIT = 100;

export const completions = defineRequest<
  DebugProtocol.CompletionsArguments,
  DebugProtocol.CompletionsResponse['body']
>({
  command: 'completions',
  capabilities: { supportsCompletionsRequest: true, completionTriggerCharacters: ['.', '['] },
  handle({ debuggee }, { text, column, frameId }) {
    const before = text.slice(0, column - 1);
    const word = /[\w.$@]*$/.exec(before)?.[0] ?? '';
    const frame = frameOf(debuggee, frameId);
    const registers =
      frame === undefined
        ? []
        : scopesOf(frame)
            .filter(({ isExpensive }) => !isExpensive)
            .flatMap(({ container }) => container.rows())
            .flatMap(({ evaluateName }) => (evaluateName === undefined ? [] : [evaluateName]));
    const symbols = debuggee.guests.flatMap((guest) =>
      guest.symbols.symbols.map(({ name }) => name),
    );
    const starts = (name: string): boolean => name.toLowerCase().startsWith(word.toLowerCase());
    const item = (label: string, type: DebugProtocol.CompletionItemType) => ({
      label,
      type,
      start: before.length - word.length,
      length: word.length,
    });
    const commands = WORDS.filter((name) => name.startsWith(before.trimStart()) || starts(name));
    return {
      targets: [
        ...[...new Set(registers)].filter(starts).map((name) => item(name, 'variable')),
        ...[...new Set(symbols)].filter(starts).map((name) => item(name, 'function')),
        ...commands.map((label) =>
          label.startsWith(before.trimStart())
            ? {
                label,
                type: 'keyword' as const,
                start: before.length - before.trimStart().length,
                length: before.trimStart().length,
              }
            : item(label, 'keyword'),
        ),
      ].slice(0, LIMIT),
    };
  },
});
