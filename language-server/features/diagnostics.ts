/**
 * Diagnostics as one types: what the assembler itself says. Mistakes in an included file are shown
 * in it, once, whichever program has found them.
 */
import { type Diagnostic, DiagnosticSeverity } from 'vscode-languageserver-types';
import type { Diagnostic as Finding } from '../../assembler/index.ts';
import { type Analysis, isIncludeFile, isProgram } from '../analysis.ts';
import { rangeOf } from '../places.ts';

const toLsp = ({ severity, message, range, related }: Finding): Diagnostic => ({
  severity: severity === 'error' ? DiagnosticSeverity.Error : DiagnosticSeverity.Warning,
  message,
  range: rangeOf(range),
  source: 'hyperstep',
  ...(related === undefined
    ? {}
    : {
        relatedInformation: related.map((one) => ({
          message: one.message,
          location: { uri: one.path, range: rangeOf(one.range) },
        })),
      }),
});

/** Diagnostics by document, for all that are open and for the files they include. */
export const diagnose = async (
  analysis: Analysis,
  openUris: readonly string[],
): Promise<ReadonlyMap<string, readonly Diagnostic[]>> => {
  const result = new Map<string, Map<string, Diagnostic>>();
  for (const uri of openUris) {
    result.set(uri, result.get(uri) ?? new Map());
    if (!isProgram(uri)) continue;
    const source = await analysis.of(uri);
    // An included file alone says nothing: what it lacks may be in the program.
    if (source === undefined || (isIncludeFile(uri) && source.uri === uri)) continue;
    for (const finding of source.assembly.diagnostics) {
      const own = result.get(finding.path) ?? new Map<string, Diagnostic>();
      result.set(finding.path, own);
      own.set(JSON.stringify([finding.range, finding.message]), toLsp(finding));
    }
  }
  return new Map([...result].map(([uri, found]) => [uri, [...found.values()]]));
};
