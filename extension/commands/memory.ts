/**
 * What can be done with the memory that a row of a tree stands for.
 */
import * as vscode from 'vscode';
import type { Row } from '../../debug-adapter/protocol.ts';
import { DEBUG_TYPE } from '../debug-launcher.ts';
import { parseBytes, watchNameOf } from '../memory-text.ts';

/** A row of the Memory view: its bytes, as text to be edited. */
const edit = async ({ memoryReference, value }: Row): Promise<void> => {
  const session = vscode.debug.activeDebugSession;
  if (session?.type !== DEBUG_TYPE || memoryReference === undefined) return;
  const text = await vscode.window.showInputBox({
    title: memoryReference,
    prompt: 'Bytes in hexadecimal; fewer or more than are there are taken too',
    value: value ?? '',
    validateInput: (typed) =>
      parseBytes(typed) === undefined ? 'Pairs of hexadecimal digits were expected.' : undefined,
  });
  const bytes = parseBytes(text ?? '');
  if (bytes === undefined) return;
  const data = btoa(String.fromCharCode(...bytes));
  try {
    await session.customRequest('writeMemory', { memoryReference, data });
  } catch (error) {
    vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
  }
};

const breakOnWrite = async ({ memoryReference = '' }: Row): Promise<void> => {
  const name = await vscode.window.showInputBox({
    title: 'Break on a write',
    prompt: 'watch:SPACE:FIRST-LAST:ACCESS; access is read, write or readwrite',
    value: watchNameOf(memoryReference),
  });
  if (name !== undefined) await vscode.commands.executeCommand('hyperstep.vmEvents.add', name);
};

export const registerMemoryCommands = (): vscode.Disposable =>
  vscode.Disposable.from(
    vscode.commands.registerCommand('hyperstep.editMemory', edit),
    vscode.commands.registerCommand('hyperstep.breakOnWrite', breakOnWrite),
  );
