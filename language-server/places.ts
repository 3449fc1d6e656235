/**
 * Between the assembler's places, counted from 1, and those of LSP, counted from 0.
 */
import type { Position, Range } from 'vscode-languageserver-types';
import type { Definition, Reference, SourceLocation, SourceRange } from '../assembler/index.ts';
import type { AnalyzedSource } from './analysis.ts';

export const rangeOf = ({ startLine, startColumn, endLine, endColumn }: SourceRange): Range => ({
  start: { line: startLine - 1, character: startColumn - 1 },
  end: { line: endLine - 1, character: endColumn - 1 },
});

/** The end counts as inside, so that a cursor behind a word means it. */
const contains = (
  { range, path }: SourceLocation,
  uri: string,
  { line, character }: Position,
): boolean =>
  path === uri &&
  range.startLine <= line + 1 &&
  range.endLine >= line + 1 &&
  (range.startLine < line + 1 || range.startColumn <= character + 1) &&
  (range.endLine > line + 1 || range.endColumn >= character + 1);

export const findAt = <T extends SourceLocation>(
  items: readonly T[],
  uri: string,
  position: Position,
): T | undefined => items.find((item) => contains(item, uri, position));

/** The definitions that are meant at a position, at a use or at a definition itself. */
export const definitionsAt = (
  { assembly: { syntax } }: AnalyzedSource,
  uri: string,
  position: Position,
): readonly Definition[] => {
  const reference = findAt(syntax.references, uri, position);
  if (reference !== undefined) {
    return reference.definitions.flatMap((index) => {
      const definition = syntax.definitions[index];
      return definition === undefined ? [] : [definition];
    });
  }
  const definition = findAt(syntax.definitions, uri, position);
  return definition === undefined ? [] : [definition];
};

export const usesOf = (
  { assembly: { syntax } }: AnalyzedSource,
  definitions: readonly Definition[],
): readonly Reference[] => {
  const wanted = new Set(definitions.map((one) => syntax.definitions.indexOf(one)));
  return syntax.references.filter(({ definitions: own }) => own.some((index) => wanted.has(index)));
};
