/**
 * One instruction: its names and its meaning. Encodings and operand forms come from iced-x86,
 * keyed by mnemonic; everything else that is known of an instruction is written here, once.
 */
import type { Operand, Width } from './operands.ts';
import type { Semantics, StatusFlag } from './semantics.ts';

/** What the SDM leaves undefined after an instruction with a count. */
export interface UndefinedByCount {
  readonly flags: readonly StatusFlag[];
  /** The destination is undefined too. */
  readonly result?: boolean;
}

/** How operand 0 is used; 'none' for instructions whose operand 0 is not data. */
export type Access = 'read' | 'write' | 'readWrite' | 'none';

export interface Instruction {
  /** Lower case; for the conditional families 'jcc', 'setcc', 'cmovcc'. */
  readonly mnemonic: string;
  /** The SDM's title. */
  readonly title: string;
  readonly access: Access;
  readonly source: string;
  /**
   * 'fast': every engine evaluates it (default). 'precise': too rare or too large for generated
   * code; only the reference engine does, which buffers all writes until the end.
   */
  readonly tier?: 'fast' | 'precise';
  /** Ends a block of straight-line code: jumps, or may change the mode. */
  readonly endsBlock?: boolean;
  readonly readsFlags?: readonly StatusFlag[];
  readonly writesFlags?: readonly StatusFlag[];
  /** Left undefined by the SDM; tests mask them. */
  readonly undefinedFlags?: readonly StatusFlag[];
  /**
   * Shifts and rotates: what the count, already masked to 5 or 6 bits, leaves undefined; it then
   * replaces undefinedFlags.
   */
  readonly undefinedByCount?: (count: number, width: Width) => UndefinedByCount;
  /** Whether VMX non-root operation can make it exit, and when, in a sentence. */
  readonly exits?: { readonly when: 'always' | 'conditionally'; readonly words: string };
  /** A LOCK prefix is allowed with a memory destination. */
  readonly lockable?: boolean;
  semantics<V>(s: Semantics<V>, ...operands: Operand[]): void;
}

/** Gives a definition its type; an identity. */
export const defineInstruction = (instruction: Instruction): Instruction => instruction;
