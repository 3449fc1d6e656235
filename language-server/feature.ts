/**
 * A feature of the language server: the capability it brings, and its handler.
 */

import type { Connection } from 'vscode-languageserver';
import type { ServerCapabilities } from 'vscode-languageserver-protocol';
import type { Analysis } from './analysis.ts';

export interface FeatureContext {
  readonly analysis: Analysis;
  textOf(uri: string): string | undefined;
}

export interface Feature {
  readonly capabilities: ServerCapabilities;
  register(connection: Connection, context: FeatureContext): void;
}
