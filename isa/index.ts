/** The door of isa/: what x86-64 means. */

export * from './catalog.ts';
export * from './decode.ts';
export * from './encode.ts';
export type { EncodedField, Prefixes } from './encoding-bytes.ts';
export { isMnemonic, mnemonics } from './encoding-forms.ts';
export type { EncodeOperand } from './encoding-operands.ts';
export * from './encoding-registers.ts';
export * from './exceptions.ts';
export * from './flags.ts';
export * from './format.ts';
export * from './instruction.ts';
export * from './operands.ts';
export * from './operations.ts';
export * from './reference-engine.ts';
export * from './semantics.ts';
