/** The index of names: gathers definitions and references while reading, links them at the end. */
import type {
  Definition,
  DefinitionKind,
  IncludeMark,
  InstructionMark,
  Reference,
  SectionMark,
  SyntaxIndex,
} from './assembly.ts';
import type { Place, Token } from './lexer.ts';
import { rangeOf } from './lexer.ts';

interface DraftDefinition {
  readonly name: string;
  readonly kind: DefinitionKind;
  readonly token: Token;
  readonly detail: string;
  readonly end: Place | undefined;
  readonly parent: string | undefined;
}

export interface NameFacts {
  readonly section?: string;
  readonly value?: bigint;
  readonly global: boolean;
}

const MACRO_KINDS = new Set<DefinitionKind>(['macro', 'define']);

/** Collects names; `finish` makes the index. Repeated reports of one place count once. */
export class NameCollector {
  readonly sections: SectionMark[] = [];
  readonly includes: IncludeMark[] = [];
  readonly instructions: InstructionMark[] = [];
  private readonly definitions = new Map<string, DraftDefinition>();
  private readonly references = new Map<string, { name: string; token: Token }>();

  define(
    kind: DefinitionKind,
    name: string,
    token: Token,
    detail: string,
    end?: Place,
    parent?: string,
  ): void {
    if (name.startsWith('..@')) return;
    const key = `${keyOf(token)}:${name}`;
    if (!this.definitions.has(key))
      this.definitions.set(key, { name, kind, token, detail, end, parent });
  }

  refer(name: string, token: Token): void {
    if (name.startsWith('..@')) return;
    const key = `${keyOf(token)}:${name}`;
    if (!this.references.has(key)) this.references.set(key, { name, token });
  }

  finish(factsOf: (name: string) => NameFacts | undefined): SyntaxIndex {
    const byName = new Map<string, number[]>();
    const definitions = [...this.definitions.values()].map((draft, index): Definition => {
      const { name, kind, token, detail, end, parent } = draft;
      for (const key of new Set([name, name.toLowerCase()]))
        byName.set(key, [...(byName.get(key) ?? []), index]);
      const range = rangeOf([token]);
      const facts = MACRO_KINDS.has(kind) ? undefined : factsOf(name);
      return {
        name,
        kind,
        path: token.place.path,
        range,
        fullRange: end === undefined ? range : { ...range, endLine: end.line, endColumn: 1 },
        detail,
        global: facts?.global ?? false,
        ...(facts?.section === undefined ? {} : { section: facts.section }),
        ...(facts?.value === undefined ? {} : { value: facts.value }),
        ...(parent === undefined ? {} : { parent }),
      };
    });
    const references = [...this.references.values()].map(
      ({ name, token }): Reference => ({
        name,
        path: token.place.path,
        range: rangeOf([token]),
        definitions: byName.get(name) ?? byName.get(name.toLowerCase()) ?? [],
      }),
    );
    const { sections, instructions, includes } = this;
    return { definitions, references, sections, instructions, includes };
  }
}

const keyOf = ({ place, start }: Token): string => `${place.path}:${place.line}:${start}`;
