/**
 * A WebAssembly module: imported functions and memory, own functions, one table of them.
 * Format: WebAssembly Core Specification 5.5 "Modules".
 */
import { ByteWriter } from './byte-writer.ts';
import type { ValueType } from './expression.ts';
import { type FunctionWriter, TYPE_CODE } from './function-writer.ts';

interface Signature {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Imports come from this module name; the memory is `memory`. */
export const IMPORTS = 'machine';
const FUNCTION_REFERENCE = 0x70;

export class ModuleWriter {
  readonly #signatures: Signature[] = [];
  readonly #imports: { readonly name: string; readonly type: number }[] = [];
  readonly #functions: { type: number; body: Uint8Array; name: string | undefined }[] = [];
  #table: readonly number[] = [];

  type(parameters: readonly ValueType[], results: readonly ValueType[]): number {
    this.#signatures.push({ parameters, results });
    return this.#signatures.length - 1;
  }
  /** All imports come before the first function. */
  import(name: string, type: number): number {
    this.#imports.push({ name, type });
    return this.#imports.length - 1;
  }
  /** Its index; `name` exports it. */
  function(type: number, body: FunctionWriter, name?: string): number {
    this.#functions.push({ type, body: body.bytes(), name });
    return this.#imports.length + this.#functions.length - 1;
  }
  /** The functions that call_indirect reaches, by number. */
  table(functions: readonly number[]): void {
    this.#table = functions;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter();
    out.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const section = (id: number, write: (part: ByteWriter) => void): void => {
      out.byte(id);
      out.sized(write);
    };
    section(1, (part) => this.#writeTypes(part));
    section(2, (part) => this.#writeImports(part));
    section(3, (part) => {
      part.unsigned(this.#functions.length);
      for (const { type } of this.#functions) part.unsigned(type);
    });
    section(4, (part) => {
      part.unsigned(1);
      part.byte(FUNCTION_REFERENCE);
      part.byte(0);
      part.unsigned(this.#table.length);
    });
    section(7, (part) => this.#writeExports(part));
    section(9, (part) => {
      part.unsigned(1);
      part.append(Uint8Array.of(0, 0x41, 0, 0x0b));
      part.unsigned(this.#table.length);
      for (const index of this.#table) part.unsigned(index);
    });
    section(10, (part) => {
      part.unsigned(this.#functions.length);
      for (const { body } of this.#functions) part.sized((code) => code.append(body));
    });
    return out.bytes();
  }

  #writeTypes(part: ByteWriter): void {
    part.unsigned(this.#signatures.length);
    for (const { parameters, results } of this.#signatures) {
      part.byte(0x60);
      for (const list of [parameters, results]) {
        part.unsigned(list.length);
        for (const type of list) part.byte(TYPE_CODE[type]);
      }
    }
  }
  #writeImports(part: ByteWriter): void {
    part.unsigned(this.#imports.length + 1);
    for (const { name, type } of this.#imports) {
      part.name(IMPORTS);
      part.name(name);
      part.byte(0);
      part.unsigned(type);
    }
    part.name(IMPORTS);
    part.name('memory');
    part.append(Uint8Array.of(2, 0, 1));
  }
  #writeExports(part: ByteWriter): void {
    const named = this.#functions
      .map(({ name }, index) => ({ name, index: index + this.#imports.length }))
      .filter((one): one is { name: string; index: number } => one.name !== undefined);
    part.unsigned(named.length);
    for (const { name, index } of named) {
      part.name(name);
      part.byte(0);
      part.unsigned(index);
    }
  }
}
