/**
 * What both extension hosts have in common; they differ in how a worker is started.
 */
import type * as vscode from 'vscode';
import type { StartAdapterWorker } from './adapter-worker.ts';
import { registerMemoryCommands } from './commands/memory.ts';
import { registerShowListing } from './commands/show-listing.ts';
import { registerToolstackCommands } from './commands/toolstack.ts';
import { registerDebugConfigurations } from './debug-configuration.ts';
import { registerDebugLauncher } from './debug-launcher.ts';
import { registerEvaluatableExpressions } from './evaluatable-expressions.ts';
import { registerGeneratedDocuments } from './generated-documents.ts';
import { registerMemoryMap } from './memory-map-panel.ts';
import { registerTreeViews } from './tree-view.ts';
import { registerVmEvents } from './vm-events.ts';

export const activateWith = (context: vscode.ExtensionContext, start: StartAdapterWorker): void => {
  const vmEvents = registerVmEvents(context, start);
  const documents = registerGeneratedDocuments(context);
  context.subscriptions.push(
    registerDebugLauncher(start, vmEvents, documents),
    registerDebugConfigurations(),
    registerTreeViews(),
    registerMemoryMap(context),
    registerEvaluatableExpressions(),
    registerToolstackCommands(),
    registerShowListing(),
    registerMemoryCommands(),
  );
};
