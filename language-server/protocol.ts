/**
 * What the language server asks of its client beside LSP.
 */

/** The contents of a file; `text` is absent if there is no such file. Only asked for URIs that the server cannot read itself. */
export interface ReadFileRequest {
  readonly method: 'hyperstep/readFile';
  readonly params: { readonly uri: string };
  readonly result: { readonly bytes?: readonly number[] };
}
