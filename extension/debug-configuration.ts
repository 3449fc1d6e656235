/**
 * Launch configurations: without a launch.json, F5 debugs the file in the editor.
 */
import * as vscode from 'vscode';
import { DEBUG_TYPE } from './debug-launcher.ts';

const SOURCE = /\.(asm|nasm|s)$/i;
const PROGRAM = /\.(asm|nasm|s|elf|bin)$|\.hyperstep\.json$/i;

const nameOf = (uri: vscode.Uri): string => uri.path.slice(uri.path.lastIndexOf('/') + 1);

/** As launch arguments name a file: a path where there is a file system, else the URI. */
export const programOf = (uri: vscode.Uri): string =>
  uri.scheme === 'file' ? uri.fsPath : uri.toString();

export const configurationFor = (uri: vscode.Uri): vscode.DebugConfiguration => ({
  type: DEBUG_TYPE,
  request: 'launch',
  name: `Hyperstep: ${nameOf(uri)}`,
  program: programOf(uri),
});

/** The file in the editor, if it can be debugged. An included file is debugged by its program. */
const activeProgram = (): vscode.Uri | undefined => {
  const uri = vscode.window.activeTextEditor?.document.uri;
  return uri !== undefined && PROGRAM.test(uri.path) ? uri : undefined;
};

const provider: vscode.DebugConfigurationProvider = {
  resolveDebugConfiguration(_folder, configuration) {
    if (configuration.type) return configuration;
    const uri = activeProgram();
    return uri === undefined ? undefined : configurationFor(uri);
  },
  async resolveDebugConfigurationWithSubstitutedVariables(folder, configuration) {
    const { program } = configuration;
    if (typeof program !== 'string' || program === '') {
      await vscode.window.showErrorMessage(
        '"program" is missing in the launch configuration: the path of a guest program or a scenario.',
      );
      return undefined;
    }
    // On the web, ${file} is a path without its scheme.
    const base = folder?.uri ?? vscode.window.activeTextEditor?.document.uri;
    const isPlain = !/^[a-z][a-z0-9+.-]+:/i.test(program);
    if (isPlain && base !== undefined && base.scheme !== 'file') {
      return { ...configuration, program: base.with({ path: program }).toString() };
    }
    return configuration;
  },
};

/** Offers every program of the workspace in the list of configurations. */
const dynamicProvider: vscode.DebugConfigurationProvider = {
  async provideDebugConfigurations() {
    const files = await vscode.workspace.findFiles(
      '**/{main.asm,*.hyperstep.json}',
      '**/node_modules/**',
      50,
    );
    const active = activeProgram();
    const all = active === undefined ? files : [active, ...files];
    const unique = new Map(all.map((uri) => [uri.toString(), uri]));
    return [...unique.values()].map((uri) => ({
      ...configurationFor(uri),
      name: vscode.workspace.asRelativePath(uri),
    }));
  },
};

export const registerDebugConfigurations = (): vscode.Disposable =>
  vscode.Disposable.from(
    vscode.debug.registerDebugConfigurationProvider(DEBUG_TYPE, provider),
    vscode.debug.registerDebugConfigurationProvider(
      DEBUG_TYPE,
      dynamicProvider,
      vscode.DebugConfigurationProviderTriggerKind.Dynamic,
    ),
    vscode.commands.registerCommand('hyperstep.debugFile', (uri?: vscode.Uri) =>
      startFile(uri, false),
    ),
    vscode.commands.registerCommand('hyperstep.runFile', (uri?: vscode.Uri) =>
      startFile(uri, true),
    ),
  );

const startFile = async (given: vscode.Uri | undefined, noDebug: boolean): Promise<void> => {
  const uri = given ?? activeProgram();
  if (uri === undefined) {
    await vscode.window.showErrorMessage(
      'Open a guest program first: NASM source, ELF or scenario.',
    );
    return;
  }
  if (SOURCE.test(uri.path)) await vscode.workspace.saveAll(false);
  const folder = vscode.workspace.getWorkspaceFolder(uri);
  await vscode.debug.startDebugging(folder, configurationFor(uri), { noDebug });
};
