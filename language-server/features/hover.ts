/** Hover: instructions, registers, names, numbers. */
import type { Position } from 'vscode-languageserver-types';
import type { Definition, InstructionMark } from '../../assembler/index.ts';
import { definitionOf } from '../../isa/index.ts';
import type { AnalyzedSource } from '../analysis.ts';
import type { Feature } from '../feature.ts';
import { definitionsAt, findAt } from '../places.ts';
import { REGISTERS } from '../registers.ts';

const WORD = /[%.$@]?[A-Za-z_?][\w.$#@~?]*|(?<![\w.])\$?[0-9][\w]*/g;

export const hover: Feature = {
  capabilities: { hoverProvider: true },
  register(connection, { analysis, textOf }) {
    connection.onHover(async ({ textDocument: { uri }, position }) => {
      const line = textOf(uri)?.split(/\r?\n/)[position.line] ?? '';
      const source = await analysis.of(uri);
      const text = hoverText(source, uri, position, line, textOf);
      return text === undefined ? null : { contents: { kind: 'markdown', value: text } };
    });
  },
};

/** Markdown; undefined where there is nothing to say. */
const hoverText = (
  source: AnalyzedSource | undefined,
  uri: string,
  position: Position,
  line: string,
  textOf: (uri: string) => string | undefined,
): string | undefined => {
  if (source !== undefined) {
    const definitions = definitionsAt(source, uri, position);
    const [definition] = definitions;
    if (definition !== undefined) return nameText(definition, textOf(definition.path));
    const mark = findAt(source.assembly.syntax.instructions, uri, position);
    if (mark !== undefined) return instructionText(mark);
  }
  const word = wordAt(line, position.character);
  if (word === undefined) return undefined;
  const register = REGISTERS.get(word.toLowerCase());
  if (register !== undefined) return `**${word}**  ${register}`;
  const known = definitionOf(word.toLowerCase());
  if (known !== undefined) return meaningText(word.toLowerCase());
  return numberText(word);
};

const wordAt = (line: string, column: number): string | undefined => {
  const code = line.replaceAll(/(["'`])(?:(?!\1).)*\1|;.*/g, (text) => ' '.repeat(text.length));
  return [...code.matchAll(WORD)].find(
    ({ index, 0: text }) => column >= index && column <= index + text.length,
  )?.[0];
};

const instructionText = ({ mnemonic, form, bytes, address, bits }: InstructionMark): string => {
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const place = `\`${digits}\` at \`0x${address.toString(16)}\`, ${bits}-bit code`;
  return [`\`\`\`nasm\n${form}\n\`\`\``, meaningText(mnemonic), place].filter(Boolean).join('\n\n');
};

const flagText = (title: string, flags: readonly string[] | undefined): string =>
  flags === undefined || flags.length === 0 ? '' : `${title}: ${flags.join(', ')}`;

const meaningText = (mnemonic: string): string | undefined => {
  const known = definitionOf(mnemonic.toLowerCase());
  if (known === undefined) return undefined;
  const flags = [
    flagText('reads', known.readsFlags),
    flagText('writes', known.writesFlags),
    flagText('leaves undefined', known.undefinedFlags),
  ].filter((text) => text !== '');
  return [
    `**${mnemonic.toUpperCase()}**  ${known.title}`,
    flags.length === 0 ? '' : `Flags: ${flags.join('; ')}.`,
    known.exits === undefined
      ? ''
      : `**VM exit** ${known.exits.when === 'always' ? 'always' : 'in some cases'}: ${known.exits.words}`,
    `*${known.source}*`,
  ]
    .filter((text) => text !== '')
    .join('\n\n');
};

const nameText = (definition: Definition, text: string | undefined): string => {
  const { detail, section, value, kind } = definition;
  const shown = value === undefined ? '' : `\`0x${value.toString(16)}\` = ${value}`;
  const words = [section === undefined ? '' : `${kind} in ${section}`, shown].filter(
    (one) => one !== '',
  );
  const comment = text === undefined ? '' : commentAbove(text, definition.fullRange.startLine);
  return [`\`\`\`nasm\n${detail}\n\`\`\``, words.join(', '), comment]
    .filter((one) => one !== '')
    .join('\n\n');
};

/** The comment lines directly above a line, counted from 1. */
const commentAbove = (text: string, line: number): string => {
  const lines = text.split(/\r?\n/);
  const comment: string[] = [];
  for (let index = line - 2; index >= 0; index -= 1) {
    const match = /^\s*;+\s?(.*)$/.exec(lines[index] ?? '');
    if (match === null) break;
    comment.unshift(match[1] ?? '');
  }
  return comment.join('\n');
};

const NUMBERS: readonly (readonly [RegExp, string])[] = [
  [/^(?:0[xh]|\$0?)([0-9a-f_]+)$/i, '0x'],
  [/^([0-9][0-9a-f_]*)[hx]$/i, '0x'],
  [/^0[by]([01_]+)$/i, '0b'],
  [/^([01_]+)[by]$/i, '0b'],
  [/^0[oq]([0-7_]+)$/i, '0o'],
  [/^([0-7_]+)[oq]$/i, '0o'],
  [/^(?:0d)?([0-9_]+)d?$/i, ''],
];

const numberText = (word: string): string | undefined => {
  for (const [pattern, prefix] of NUMBERS) {
    const digits = pattern.exec(word)?.[1]?.replaceAll('_', '');
    if (digits === undefined || digits === '') continue;
    const value = BigInt(`${prefix}${digits}`);
    const lines = [`\`${value}\``, `\`0x${value.toString(16)}\``, `\`0b${value.toString(2)}\``];
    if (value >= 0x1000n)
      lines.push(
        `page \`0x${(value >> 12n).toString(16)}\` + \`0x${(value & 0xfffn).toString(16)}\``,
      );
    return lines.join(' = ').replace(' = page', ', page');
  }
  return undefined;
};
