/**
 * The assembler: NASM's language to a flat image or an ELF executable, with symbols, lines,
 * diagnostics and an index of names. The only door of this folder.
 */
export { assemble } from './assemble.ts';
export { assembleWithIncludes } from './assemble-with-includes.ts';
export type {
  AssembledSection,
  AssembledSymbol,
  AssembleOptions,
  Assembly,
  Definition,
  DefinitionKind,
  Diagnostic,
  ExpansionStep,
  IncludeMark,
  InstructionMark,
  LineEntry,
  Reference,
  RelatedPlace,
  SectionMark,
  SourceLocation,
  SourceRange,
  SyntaxIndex,
} from './assembly.ts';
export * from './paths.ts';
