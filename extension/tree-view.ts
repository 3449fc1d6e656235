/**
 * Shows any view of the debug adapter as a tree: it asks for rows, and asks again when the adapter
 * says that guest state has changed.
 */
import * as vscode from 'vscode';
import type { Row, RowsArguments, RowsResponse, ViewsResponse } from '../debug-adapter/protocol.ts';
import { DEBUG_TYPE } from './debug-launcher.ts';

/** Ids of the views in `contributes.views`, without the prefix. */
const VIEW_IDS = ['domains', 'vcpus', 'p2m', 'pageWalk', 'memory', 'xenstore'] as const;

/** The command that asks for the input of a view. */
const INPUT_COMMANDS: Readonly<Record<string, (typeof VIEW_IDS)[number]>> = {
  'hyperstep.walkAddress': 'pageWalk',
  'hyperstep.showMemory': 'memory',
};

const sessionOf = (): vscode.DebugSession | undefined => {
  const session = vscode.debug.activeDebugSession;
  return session?.type === DEBUG_TYPE ? session : undefined;
};

class RowsProvider implements vscode.TreeDataProvider<Row> {
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #view: string;
  input: string | undefined;
  isVisible = false;

  constructor(view: string) {
    this.#view = view;
  }

  refresh(): void {
    if (this.isVisible) this.#changed.fire(undefined);
  }

  async getChildren(row?: Row): Promise<Row[]> {
    const session = sessionOf();
    if (session === undefined) return [];
    const item = vscode.debug.activeStackItem;
    const args: RowsArguments = {
      view: this.#view,
      ...(row === undefined ? {} : { parent: row.id }),
      ...(this.input === undefined ? {} : { input: this.input }),
      ...(item?.session === session ? { threadId: item.threadId } : {}),
    };
    try {
      const { rows }: RowsResponse = await session.customRequest('hyperstep/rows', args);
      return [...rows];
    } catch {
      // The session is starting or ending; a change will be told.
      return [];
    }
  }

  getTreeItem(row: Row): vscode.TreeItem {
    const item = new vscode.TreeItem(row.label, stateOf(row));
    item.id = row.id;
    item.tooltip = row.tooltip ?? [row.label, row.detail].filter(Boolean).join('  ');
    item.accessibilityInformation = {
      label: [row.label, row.detail, row.changed ? 'changed' : ''].filter(Boolean).join(', '),
    };
    if (row.detail !== undefined) item.description = row.changed ? `● ${row.detail}` : row.detail;
    if (row.icon !== undefined) item.iconPath = new vscode.ThemeIcon(row.icon);
    item.contextValue = [
      row.context,
      row.memoryReference === undefined ? '' : 'memory',
      row.value === undefined ? '' : 'value',
    ]
      .filter(Boolean)
      .join(' ');
    return item;
  }
}

const stateOf = ({ hasChildren, expanded }: Row): vscode.TreeItemCollapsibleState => {
  if (hasChildren !== true) return vscode.TreeItemCollapsibleState.None;
  return expanded === true
    ? vscode.TreeItemCollapsibleState.Expanded
    : vscode.TreeItemCollapsibleState.Collapsed;
};

const askInput = async (id: string, before: string | undefined): Promise<string | undefined> => {
  const response: ViewsResponse | undefined = await sessionOf()?.customRequest('hyperstep/views');
  const view = response?.views.find((one) => one.id === id);
  return vscode.window.showInputBox({
    title: view?.title ?? '',
    prompt: view?.input?.prompt ?? '',
    value: before ?? view?.input?.initial ?? '',
  });
};

export const registerTreeViews = (): vscode.Disposable => {
  const providers = VIEW_IDS.map((id) => {
    const provider = new RowsProvider(id);
    const view = vscode.window.createTreeView(`hyperstep.${id}`, { treeDataProvider: provider });
    provider.isVisible = view.visible;
    const visible = view.onDidChangeVisibility(({ visible: isVisible }) => {
      provider.isVisible = isVisible;
      provider.refresh();
    });
    return { id, provider, view, visible };
  });
  const refresh = (): void => {
    for (const { provider } of providers) provider.refresh();
  };
  /** Shows a view for an address that is given, the memory of a row, or what the user types. */
  const showFor = async (id: string, given: string | Row | undefined): Promise<void> => {
    const shown = providers.find((one) => one.id === id);
    if (shown === undefined) return;
    const known = typeof given === 'string' ? given : given?.memoryReference;
    const typed = known ?? (await askInput(id, shown.provider.input));
    if (typed === undefined) return;
    shown.provider.input = typed;
    shown.view.description = typed;
    shown.provider.refresh();
    await vscode.commands.executeCommand(`hyperstep.${id}.focus`);
  };
  return vscode.Disposable.from(
    ...providers.flatMap(({ view, visible }) => [view, visible]),
    vscode.debug.onDidReceiveDebugSessionCustomEvent(({ session, event }) => {
      if (session.type === DEBUG_TYPE && event === 'hyperstep/viewsChanged') refresh();
    }),
    vscode.debug.onDidChangeActiveDebugSession(refresh),
    vscode.debug.onDidTerminateDebugSession(refresh),
    vscode.debug.onDidChangeActiveStackItem(refresh),
    ...Object.entries(INPUT_COMMANDS).map(([command, id]) =>
      vscode.commands.registerCommand(command, (given?: string | Row) => showFor(id, given)),
    ),
    vscode.commands.registerCommand('hyperstep.copyRow', (row: Row) =>
      vscode.env.clipboard.writeText(row.value ?? row.detail ?? row.label),
    ),
  );
};
