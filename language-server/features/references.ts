/** All references of a name, and its highlights in one document. */
import type { Location, Position } from 'vscode-languageserver-types';
import type { AnalyzedSource } from '../analysis.ts';
import type { Feature } from '../feature.ts';
import { definitionsAt, rangeOf, usesOf } from '../places.ts';

const placesOf = (
  source: AnalyzedSource,
  uri: string,
  position: Position,
  withDefinitions: boolean,
): Location[] => {
  const definitions = definitionsAt(source, uri, position);
  const all = [...(withDefinitions ? definitions : []), ...usesOf(source, definitions)];
  const unique = new Map(
    all.map(({ path, range }) => [
      `${path} ${JSON.stringify(range)}`,
      { uri: path, range: rangeOf(range) },
    ]),
  );
  return [...unique.values()];
};

export const references: Feature = {
  capabilities: { referencesProvider: true, documentHighlightProvider: true },
  register(connection, { analysis }) {
    connection.onReferences(async ({ textDocument: { uri }, position, context }) => {
      const source = await analysis.of(uri);
      return source === undefined
        ? []
        : placesOf(source, uri, position, context.includeDeclaration);
    });
    connection.onDocumentHighlight(async ({ textDocument: { uri }, position }) => {
      const source = await analysis.of(uri);
      if (source === undefined) return [];
      return placesOf(source, uri, position, true)
        .filter((place) => place.uri === uri)
        .map(({ range }) => ({ range }));
    });
  },
};
