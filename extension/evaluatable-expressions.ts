/**
 * What a hover during debugging evaluates: registers, symbols with their dots, memory operands.
 */
import * as vscode from 'vscode';
import { expressionAt } from './expression-at.ts';
import { LANGUAGES } from './languages.ts';

export const registerEvaluatableExpressions = (): vscode.Disposable =>
  vscode.languages.registerEvaluatableExpressionProvider([...LANGUAGES], {
    provideEvaluatableExpression(document, position) {
      const found = expressionAt(document.lineAt(position.line).text, position.character);
      if (found === undefined) return undefined;
      const { start, end, text } = found;
      const range = new vscode.Range(position.line, start, position.line, end);
      return new vscode.EvaluatableExpression(range, text);
    },
  });
