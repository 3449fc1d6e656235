/**
 * The toolstack's verbs on a domain of the Domains tree.
 */
import * as vscode from 'vscode';
import type { Row } from '../../debug-adapter/protocol.ts';
import { DEBUG_TYPE } from '../debug-launcher.ts';

const xl = async (command: string): Promise<void> => {
  const session = vscode.debug.activeDebugSession;
  if (session?.type !== DEBUG_TYPE) return;
  const { result } = await session.customRequest('evaluate', {
    expression: `xl ${command}`,
    context: 'repl',
  });
  if (result !== '') vscode.debug.activeDebugConsole.appendLine(result);
};

export const registerToolstackCommands = (): vscode.Disposable =>
  vscode.Disposable.from(
    ...(['pause', 'unpause', 'destroy'] as const).map((verb) =>
      vscode.commands.registerCommand(`hyperstep.xl.${verb}`, (row: Row) =>
        xl(`${verb} ${row.domain}`),
      ),
    ),
    vscode.commands.registerCommand('hyperstep.xl.memSet', async (row: Row) => {
      const size = await vscode.window.showInputBox({
        title: `xl mem-set ${row.domain}`,
        prompt: 'New memory target in MiB',
        validateInput: (text) => (/^\d+$/.test(text) ? undefined : 'A whole number was expected.'),
      });
      if (size !== undefined) await xl(`mem-set ${row.domain} ${size}`);
    }),
    vscode.commands.registerCommand('hyperstep.xl.list', () => xl('list')),
  );
