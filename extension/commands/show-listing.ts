/**
 * Opens the generated listing where the focused vCPU stands.
 */
import * as vscode from 'vscode';
import { DEBUG_TYPE } from '../debug-launcher.ts';

export const registerShowListing = (): vscode.Disposable =>
  vscode.commands.registerCommand('hyperstep.showListing', async () => {
    const session = vscode.debug.activeDebugSession;
    if (session?.type !== DEBUG_TYPE) return;
    const item = vscode.debug.activeStackItem;
    const threadId = item?.threadId ?? 256;
    const { stackFrames } = await session.customRequest('stackTrace', { threadId });
    const reference: string | undefined = stackFrames.find(
      (frame: { instructionPointerReference?: string }) => frame.instructionPointerReference,
    )?.instructionPointerReference;
    const [vcpu = '', address = ''] = (reference ?? '').split(':');
    if (address === '') return;
    const page = `0x${(BigInt(address) & ~0xfffn).toString(16)}`;
    const uri = vscode.Uri.parse(`hyperstep-asm:/${vcpu}/${page}.asm`, true);
    const document = await vscode.workspace.openTextDocument(uri);
    const digits = address.slice(2).padStart(8, '0');
    const row = document
      .getText()
      .split('\n')
      .findIndex((text) => text.includes(`; ${digits}  `));
    const position = new vscode.Position(Math.max(0, row), 0);
    await vscode.window.showTextDocument(document, {
      preview: true,
      selection: new vscode.Range(position, position),
    });
  });
