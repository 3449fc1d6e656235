/** The outline: labels with their local labels, constants, macros, structures with their members. */
import { type DocumentSymbol, SymbolKind } from 'vscode-languageserver-types';
import type { Definition, DefinitionKind } from '../../assembler/index.ts';
import type { Feature } from '../feature.ts';
import { rangeOf } from '../places.ts';

const KINDS: Readonly<Record<DefinitionKind, SymbolKind>> = {
  label: SymbolKind.Function,
  equ: SymbolKind.Constant,
  extern: SymbolKind.Interface,
  common: SymbolKind.Variable,
  macro: SymbolKind.Method,
  define: SymbolKind.Constant,
  struc: SymbolKind.Struct,
  member: SymbolKind.Field,
};

const symbolOf = (definition: Definition, children: DocumentSymbol[]): DocumentSymbol => {
  const { name, parent, detail, kind, range, fullRange } = definition;
  const shown =
    parent !== undefined && name.startsWith(`${parent}.`) ? name.slice(parent.length) : name;
  return {
    name: shown === '' ? name : shown,
    detail,
    kind: KINDS[kind],
    range: rangeOf(fullRange),
    selectionRange: rangeOf(range),
    children,
  };
};

export const documentSymbols: Feature = {
  capabilities: { documentSymbolProvider: true },
  register(connection, { analysis }) {
    connection.onDocumentSymbol(async ({ textDocument: { uri } }) => {
      const source = await analysis.of(uri);
      const own = source?.assembly.syntax.definitions.filter(({ path }) => path === uri) ?? [];
      const names = new Set(own.map(({ name }) => name));
      const isTop = ({ parent }: Definition): boolean => parent === undefined || !names.has(parent);
      return own.filter(isTop).map((one) =>
        symbolOf(
          one,
          own
            .filter((inner) => !isTop(inner) && inner.parent === one.name)
            .map((inner) => symbolOf(inner, [])),
        ),
      );
    });
  },
};
