/** Go to definition: symbols, macros, members, and the files of `%include`. */

import type { Feature } from '../feature.ts';
import { definitionsAt, findAt, rangeOf } from '../places.ts';

const START = { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } };

export const definition: Feature = {
  capabilities: { definitionProvider: true },
  register(connection, { analysis }) {
    connection.onDefinition(async ({ textDocument: { uri }, position }) => {
      const source = await analysis.of(uri);
      if (source === undefined) return [];
      const include = findAt(source.assembly.syntax.includes, uri, position);
      if (include?.target !== undefined) return [{ uri: include.target, range: START }];
      return definitionsAt(source, uri, position).map(({ path, range }) => ({
        uri: path,
        range: rangeOf(range),
      }));
    });
  },
};
