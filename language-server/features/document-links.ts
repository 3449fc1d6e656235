/** Links at `%include` and `incbin`. */
import type { Feature } from '../feature.ts';
import { rangeOf } from '../places.ts';

export const documentLinks: Feature = {
  capabilities: { documentLinkProvider: {} },
  register(connection, { analysis }) {
    connection.onDocumentLinks(async ({ textDocument: { uri } }) => {
      const source = await analysis.of(uri);
      return (source?.assembly.syntax.includes ?? []).flatMap(({ path, range, target }) =>
        path === uri && target !== undefined ? [{ range: rangeOf(range), target }] : [],
      );
    });
  },
};
