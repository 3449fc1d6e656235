/**
 * What the assembler takes and gives: options in; bytes, symbols, lines, diagnostics and an index of
 * the source's names out. Lines and columns are 1-based; a range's end column is exclusive.
 * These types are the contract with the language server, the debug adapter and the command line.
 */

export interface AssembleOptions {
  /** Name of the source in diagnostics and line entries; `input.asm` by default. */
  readonly path?: string;
  /** `bin` is a flat image as by `nasm -f bin`; `elf64` (default) a linked static executable. */
  readonly format?: 'bin' | 'elf64';
  /**
   * The source is one of several that a linker puts together, as `nasm -f elf64` takes it: names that
   * are `extern` need no definition. Nothing to run comes out. Default false: it is all there is.
   */
  readonly isPart?: boolean;
  /** elf64: the address of `.text`, 0x100000 by default, as by `ld -Ttext=0x100000`. */
  readonly textAddress?: number;
  /** Single-line macros defined before the first line, as by `nasm -D`. */
  readonly defines?: Readonly<Record<string, string>>;
  /** Opens the file that `%include` or `incbin` names, seen from the file `from`. */
  readonly readFile?: (
    path: string,
    from: string,
  ) => { path: string; bytes: Uint8Array } | undefined;
}

export interface Assembly {
  /** The flat image or the ELF executable; empty when there are errors. */
  readonly bytes: Uint8Array;
  /** elf64: the address of `_start`, or of the start of `.text`. bin: the origin. */
  readonly entry: bigint | undefined;
  readonly sections: readonly AssembledSection[];
  readonly symbols: readonly AssembledSymbol[];
  /** One entry per emitted instruction or data item, in order of emission. */
  readonly lines: readonly LineEntry[];
  readonly diagnostics: readonly Diagnostic[];
  /** The listing, laid out as by `nasm -l`. */
  readonly listing: string;
  /** Paths of all files read, without the main source. */
  readonly includes: readonly string[];
  /** Every name of the source with its definitions and uses; there also when errors were found. */
  readonly syntax: SyntaxIndex;
}

export interface AssembledSection {
  readonly name: string;
  readonly address: bigint;
  readonly lengthBytes: number;
  /** Offset of the contents in `bytes`; for a section without contents, where they would be. */
  readonly fileOffset: number;
}

export interface AssembledSymbol {
  /** Full name: a local label has its parent in front, `main.loop`. */
  readonly name: string;
  readonly address: bigint;
  /** Absent for a constant. */
  readonly section?: string;
  readonly global: boolean;
  readonly kind: 'label' | 'equ';
  readonly location: SourceLocation;
  /** Bytes up to the next non-local label of the section; absent for a constant. */
  readonly sizeBytes?: number;
}

export interface SourceLocation {
  readonly path: string;
  readonly range: SourceRange;
}

export interface SourceRange {
  readonly startLine: number;
  readonly startColumn: number;
  readonly endLine: number;
  readonly endColumn: number;
}

export interface LineEntry {
  readonly address: bigint;
  readonly lengthBytes: number;
  /** The line as the user steps it: of a macro call, the line of the outermost call. */
  readonly path: string;
  readonly line: number;
  readonly column: number;
  readonly section: string;
  readonly kind: 'instruction' | 'data';
  /** Where the text stands inside macros, from the outermost macro to the innermost. */
  readonly expansion?: readonly ExpansionStep[];
}

export interface ExpansionStep {
  readonly macro: string;
  /** The line of the macro's body that produced this item. */
  readonly path: string;
  readonly line: number;
}

export interface Diagnostic {
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly path: string;
  readonly range: SourceRange;
  readonly related?: readonly RelatedPlace[];
}

export interface RelatedPlace extends SourceLocation {
  readonly message: string;
}

/** The names of all sources of one assembly. */
export interface SyntaxIndex {
  readonly definitions: readonly Definition[];
  readonly references: readonly Reference[];
  readonly sections: readonly SectionMark[];
  readonly instructions: readonly InstructionMark[];
  readonly includes: readonly IncludeMark[];
}

export type DefinitionKind =
  | 'label'
  | 'equ'
  | 'extern'
  | 'common'
  | 'macro' // %macro
  | 'define' // %define, %assign and relatives
  | 'struc'
  | 'member'; // label inside a struc

export interface Definition extends SourceLocation {
  /** Full name, `main.loop`; of a context-local define, with its `%$`. */
  readonly name: string;
  readonly kind: DefinitionKind;
  /** `range` covers the name; this covers the statement, of a macro or struc up to its end. */
  readonly fullRange: SourceRange;
  /** The section of a label. */
  readonly section?: string;
  /** Address of a label, value of a constant, offset of a struc's member. */
  readonly value?: bigint;
  /** The struc of a member, the non-local label of a local one. */
  readonly parent?: string;
  /** One line for a hover: `%macro save 1-3`, `PAGE equ 0x1000`. */
  readonly detail: string;
  readonly global: boolean;
}

/** A use of a name. `definitions` are indexes into `SyntaxIndex.definitions`; empty if unknown. */
export interface Reference extends SourceLocation {
  readonly name: string;
  readonly definitions: readonly number[];
}

/** A place where the section changes; the outline of a source. */
export interface SectionMark extends SourceLocation {
  readonly name: string;
}

export interface IncludeMark extends SourceLocation {
  readonly kind: 'include' | 'incbin';
  /** The name as written. */
  readonly name: string;
  /** The path it was found at; absent if it was not. */
  readonly target?: string;
}

/** An instruction as written; `range` covers the mnemonic. */
export interface InstructionMark extends SourceLocation {
  readonly mnemonic: string;
  readonly address: bigint;
  readonly lengthBytes: number;
  readonly bytes: Uint8Array;
  /** `ADD r/m64, imm8`: the form chosen, in the words of the SDM. */
  readonly form: string;
  /** Processor mode it is encoded for. */
  readonly bits: 16 | 32 | 64;
}
