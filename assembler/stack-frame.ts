/** Where `%arg` and `%local` find parameters and locals of a procedure, as TASM lays them out. */
import type { Token } from './lexer.ts';

interface Model {
  readonly slotBytes: number;
  readonly pointer: string;
  /** From the frame pointer to the first parameter. */
  readonly firstArgument: number;
}

const MODELS: Readonly<Record<string, Model>> = {
  flat: { slotBytes: 4, pointer: 'ebp', firstArgument: 8 },
  flat64: { slotBytes: 8, pointer: 'rbp', firstArgument: 16 },
  large: { slotBytes: 2, pointer: 'bp', firstArgument: 4 },
  small: { slotBytes: 2, pointer: 'bp', firstArgument: 6 },
};

const SIZES: Readonly<Record<string, number>> = {
  byte: 1,
  word: 2,
  dword: 4,
  qword: 8,
  tword: 10,
  oword: 16,
};

export class StackFrame {
  private model: Model = { slotBytes: 4, pointer: 'ebp', firstArgument: 8 };
  private nextArgument = 8;
  private localBytes = 0;

  /** Begins anew with the model of this name; false if there is none. */
  choose(name: string): boolean {
    const model = MODELS[name.toLowerCase()];
    if (model === undefined) return false;
    this.model = model;
    this.nextArgument = model.firstArgument;
    this.localBytes = 0;
    return true;
  }

  /** The bytes that a value of this size takes on the stack, or 0 if the text is no size. */
  sizeOf([word]: readonly Token[]): number {
    const bytes = SIZES[word?.text.toLowerCase() ?? ''] ?? 0;
    const { slotBytes } = this.model;
    return Math.ceil(bytes / slotBytes) * slotBytes;
  }

  /** The address of the next parameter, as an expression. */
  argument(bytes: number): string {
    const offset = this.nextArgument;
    this.nextArgument += bytes;
    return `(${this.model.pointer}+${offset})`;
  }

  /** The address of the next local. */
  local(bytes: number): string {
    this.localBytes += bytes;
    return `(${this.model.pointer}-${this.localBytes})`;
  }
}
