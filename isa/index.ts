/** The door of isa/: what x86-64 means. */
export * from './exceptions.ts';
export * from './instruction.ts';
export * from './operands.ts';
export * from './semantics.ts';
export * from './encode.ts';
export type { EncodedField, Prefixes } from './encoding-bytes.ts';
export { isMnemonic, mnemonics } from './encoding-forms.ts';
export type { EncodeOperand } from './encoding-operands.ts';
export * from './encoding-registers.ts';
