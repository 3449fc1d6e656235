/** The door of isa/: what x86-64 means. */
export * from './exceptions.ts';
export * from './instruction.ts';
export * from './operands.ts';
export * from './semantics.ts';
