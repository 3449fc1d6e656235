/**
 * Log messages: text with expressions in braces, `{rax}`, `{exit.leaf:x}`; a format after the last
 * colon is x (hexadecimal), d (decimal), i (signed), b (binary) or c (character).
 */
import { evaluateExpression, type Scope, type Value } from './evaluate.ts';
import { type Expression, ExpressionError, parseExpression } from './parse.ts';

export type Format = 'x' | 'd' | 'i' | 'b' | 'c';

type Piece = string | { readonly expression: Expression; readonly format: Format };

export type Template = readonly Piece[];

/** Throws ExpressionError. `{{` and `}}` stand for braces. */
export const parseTemplate = (text: string): Template => {
  const pieces: Piece[] = [];
  let plain = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] ?? '';
    if ((character === '{' || character === '}') && text[at + 1] === character) {
      plain += character;
      at += 1;
    } else if (character === '{') {
      const end = text.indexOf('}', at);
      if (end < 0) throw new ExpressionError("'}' is missing", at);
      if (plain !== '') pieces.push(plain);
      plain = '';
      pieces.push(parsePiece(text.slice(at + 1, end)));
      at = end;
    } else plain += character;
  }
  if (plain !== '') pieces.push(plain);
  return pieces;
};

const parsePiece = (text: string): Piece => {
  const format = /:([xdibc])\s*$/.exec(text);
  const body = format === null ? text : text.slice(0, format.index);
  return { expression: parseExpression(body), format: (format?.[1] ?? 'x') as Format };
};

/** What cannot be evaluated is written as `<why>`. */
export const fillTemplate = (template: Template, scope: Scope): string =>
  template
    .map((piece) => {
      if (typeof piece === 'string') return piece;
      try {
        return formatValue(evaluateExpression(piece.expression, scope), piece.format);
      } catch (error) {
        if (error instanceof ExpressionError) return `<${error.message}>`;
        throw error;
      }
    })
    .join('');

export const formatValue = (value: Value, format: Format): string => {
  if (typeof value === 'string') return value;
  switch (format) {
    case 'x':
      return `0x${value.toString(16)}`;
    case 'd':
      return value.toString();
    case 'i':
      return BigInt.asIntN(64, value).toString();
    case 'b':
      return `0b${value.toString(2)}`;
    case 'c':
      return value < 0x20n || value > 0x7en ? '.' : String.fromCharCode(Number(value));
  }
};
