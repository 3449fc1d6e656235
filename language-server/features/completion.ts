/** Completion: mnemonics and directives where a statement begins, else registers and names. */
import { type CompletionItem, CompletionItemKind } from 'vscode-languageserver-types';
import type { DefinitionKind } from '../../assembler/index.ts';
import { definitionOf, mnemonics } from '../../isa/index.ts';
import type { Feature } from '../feature.ts';
import { REGISTERS } from '../registers.ts';

const DIRECTIVES =
  'section segment global extern common bits use16 use32 use64 default align alignb org absolute cpu struc endstruc istruc iend at equ times incbin db dw dd dq dt do resb resw resd resq rest reso'.split(
    ' ',
  );
const PREPROCESSOR =
  'define xdefine idefine undef assign macro imacro endmacro unmacro rep endrep exitrep include if elif else endif ifdef ifndef ifmacro ifidn ifidni ifnum ifstr ifid error warning fatal push pop rotate strlen strcat substr defstr deftok'.split(
    ' ',
  );
const SIZES = 'byte word dword qword near far short strict rel abs'.split(' ');

const KINDS: Readonly<Record<DefinitionKind, CompletionItemKind>> = {
  label: CompletionItemKind.Function,
  equ: CompletionItemKind.Constant,
  extern: CompletionItemKind.Interface,
  common: CompletionItemKind.Variable,
  macro: CompletionItemKind.Method,
  define: CompletionItemKind.Constant,
  struc: CompletionItemKind.Struct,
  member: CompletionItemKind.Field,
};

const keyword = (label: string): CompletionItem => ({ label, kind: CompletionItemKind.Keyword });

const mnemonicItems: CompletionItem[] = [];
const allMnemonics = (): readonly CompletionItem[] => {
  if (mnemonicItems.length === 0) {
    for (const label of mnemonics()) {
      const known = definitionOf(label);
      const exits = known?.exits === undefined ? '' : ' (VM exit)';
      mnemonicItems.push({
        label,
        kind: CompletionItemKind.Operator,
        ...(known === undefined ? {} : { detail: `${known.title}${exits}` }),
      });
    }
  }
  return mnemonicItems;
};

/** Whether only a label stands before the cursor's word. */
const isStatementStart = (before: string): boolean =>
  /^\s*(?:[\w.$@?#~]+:)?\s*(?:(?:rep\w*|lock|times\s+\S+)\s+)*[\w.]*$/i.test(before);

export const completion: Feature = {
  capabilities: { completionProvider: { triggerCharacters: ['%', '.', '['] } },
  register(connection, { analysis, textOf }) {
    connection.onCompletion(async ({ textDocument: { uri }, position }) => {
      const line = textOf(uri)?.split(/\r?\n/)[position.line] ?? '';
      const before = line.slice(0, position.character);
      if (/^[^"'`]*;/.test(before)) return [];
      if (/%\w*$/.test(before)) return PREPROCESSOR.map((name) => keyword(name));
      const definitions = (await analysis.of(uri))?.assembly.syntax.definitions ?? [];
      const names = definitions.map(
        ({ name, kind, detail, parent }): CompletionItem => ({
          label:
            /\.\w*$/.test(before) && parent !== undefined && name.startsWith(`${parent}.`)
              ? name.slice(parent.length)
              : name,
          kind: KINDS[kind],
          detail,
        }),
      );
      const unique = [...new Map(names.map((item) => [item.label, item])).values()];
      if (isStatementStart(before)) {
        const macros = unique.filter(({ kind }) => kind === CompletionItemKind.Method);
        return [...allMnemonics(), ...DIRECTIVES.map(keyword), ...macros];
      }
      const registers = [...REGISTERS].map(
        ([label, detail]): CompletionItem => ({ label, detail, kind: CompletionItemKind.Variable }),
      );
      return [...registers, ...SIZES.map(keyword), ...unique];
    });
  },
};
