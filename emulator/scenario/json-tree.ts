/**
 * JSON as a tree that knows where each value stands, for messages with a place. RFC 8259.
 */
import type { ScenarioProblem } from './scenario.ts';

interface Place {
  /** 'domains[1].memory'; '' for the whole. */
  readonly path: string;
  readonly offset: number;
}

export type TreeNode = Place &
  (
    | { readonly kind: 'object'; readonly members: readonly (readonly [string, TreeNode])[] }
    | { readonly kind: 'array'; readonly elements: readonly TreeNode[] }
    | { readonly kind: 'string'; readonly value: string }
    | { readonly kind: 'number'; readonly value: number }
    | { readonly kind: 'boolean'; readonly value: boolean }
    | { readonly kind: 'null' }
  );

const DEEPEST = 64;

class SyntaxMistake extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** The tree, or the first syntax mistake. */
export const parseTree = (text: string): { node: TreeNode } | { problem: ScenarioProblem } => {
  try {
    const parser = new Parser(text);
    return { node: parser.document() };
  } catch (error) {
    if (!(error instanceof SyntaxMistake)) throw error;
    const before = text.slice(0, error.offset);
    return {
      problem: {
        message: error.message,
        path: '',
        line: before.split('\n').length,
        column: error.offset - before.lastIndexOf('\n'),
      },
    };
  }
};

class Parser {
  #at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text.startsWith('\ufeff') ? ` ${text.slice(1)}` : text;
  }

  document(): TreeNode {
    const node = this.#value('', 0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail('the end of the text');
    return node;
  }

  #value(path: string, depth: number): TreeNode {
    this.#space();
    if (depth > DEEPEST) throw new SyntaxMistake(this.#at, 'Values are nested too deeply.');
    const offset = this.#at;
    const char = this.#text[offset];
    if (char === '{') return { path, offset, kind: 'object', members: this.#members(path, depth) };
    if (char === '[') return { path, offset, kind: 'array', elements: this.#elements(path, depth) };
    if (char === '"') return { path, offset, kind: 'string', value: this.#string() };
    const word = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(
      this.#text.slice(offset, offset + 64),
    )?.[0];
    if (word === undefined) this.#fail('a value');
    this.#at += word.length;
    if (word === 'null') return { path, offset, kind: 'null' };
    if (word === 'true' || word === 'false') {
      return { path, offset, kind: 'boolean', value: word === 'true' };
    }
    return { path, offset, kind: 'number', value: Number(word) };
  }

  #members(path: string, depth: number): (readonly [string, TreeNode])[] {
    const members: (readonly [string, TreeNode])[] = [];
    this.#at += 1;
    if (this.#take('}')) return members;
    do {
      this.#space();
      if (this.#text[this.#at] !== '"') this.#fail('a name in double quotes');
      const name = this.#string();
      if (!this.#take(':')) this.#fail('":"');
      members.push([name, this.#value(path === '' ? name : `${path}.${name}`, depth + 1)]);
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail('"," or "}"');
    return members;
  }

  #elements(path: string, depth: number): TreeNode[] {
    const elements: TreeNode[] = [];
    this.#at += 1;
    if (this.#take(']')) return elements;
    do {
      elements.push(this.#value(`${path}[${elements.length}]`, depth + 1));
    } while (this.#take(','));
    if (!this.#take(']')) this.#fail('"," or "]"');
    return elements;
  }

  #string(): string {
    const match = /"(?:[^"\\]|\\.)*"/y;
    match.lastIndex = this.#at;
    const quoted = match.exec(this.#text)?.[0];
    if (quoted === undefined) this.#fail('a text that ends with a double quote');
    try {
      const value: unknown = JSON.parse(quoted);
      this.#at += quoted.length;
      return String(value);
    } catch {
      return this.#fail('a text without control characters and unknown escapes');
    }
  }

  #take(char: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #space(): void {
    while (' \t\r\n'.includes(this.#text[this.#at] ?? '.')) this.#at += 1;
  }

  #fail(expected: string): never {
    const found = this.#text[this.#at];
    throw new SyntaxMistake(
      this.#at,
      `${expected[0]?.toUpperCase()}${expected.slice(1)} was expected, not ${found === undefined ? 'the end' : `"${found}"`}.`,
    );
  }
}
