/**
 * The expression of the debugger's language that stands at a column of NASM text.
 */
export interface FoundExpression {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

const MEMORY = /(?:\b(?:byte|word|dword|qword)\s*)?\[[^\]]*\]/gi;
const NAME = /[A-Za-z_.$@?][\w.$@?#~]*/g;

/** undefined in comments, strings and white space. */
export const expressionAt = (line: string, column: number): FoundExpression | undefined => {
  const code = line.replaceAll(/(["'`])(?:(?!\1).)*\1|;.*/g, (text) => ' '.repeat(text.length));
  const names = [...code.matchAll(NAME)].map((match) => ({ text: match[0], start: match.index }));
  const memory = [...code.matchAll(MEMORY)].map((match) => ({
    text: match[0].replace(/\[\s*rel\s+/i, '['),
    start: match.index,
    length: match[0].length,
  }));
  const name = names.find(({ text, start }) => column >= start && column < start + text.length);
  if (name !== undefined && !/^(byte|word|dword|qword|rel|abs)$/i.test(name.text)) {
    return { start: name.start, end: name.start + name.text.length, text: name.text };
  }
  const operand = memory.find(({ start, length }) => column >= start && column < start + length);
  if (operand === undefined) return undefined;
  return { start: operand.start, end: operand.start + operand.length, text: operand.text };
};
