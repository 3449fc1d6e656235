/**
 * The VM Events tree: what to break on, ticked before or during a session, kept with the workspace.
 * The list of events comes from the debug adapter; it is asked once, without a session.
 */
import * as vscode from 'vscode';
import type {
  EventBreakpointRequest,
  EventCatalogEntry,
  EventCatalogGroup,
} from '../debug-adapter/protocol.ts';
import { type AdapterConnection, connectAdapter } from './adapter-connection.ts';
import type { StartAdapterWorker } from './adapter-worker.ts';
import { describeChoice, type EventChoice, requestsOf } from './event-choices.ts';

export interface VmEvents {
  /** Sends what is ticked, now and after each change. */
  attach(connection: AdapterConnection): void;
  detach(connection: AdapterConnection): void;
}

type Node =
  | { readonly kind: 'group'; readonly group: EventCatalogGroup }
  | { readonly kind: 'event'; readonly entry: EventCatalogEntry };

const STORED = 'hyperstep.vmEvents';
const OWN_GROUP: EventCatalogGroup = {
  name: 'own',
  label: 'Your own',
  description: 'Events that you have added by name.',
  events: [],
};

class VmEventsTree implements vscode.TreeDataProvider<Node>, VmEvents {
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #start: StartAdapterWorker;
  readonly #storage: vscode.Memento;
  readonly #connections = new Set<AdapterConnection>();
  readonly #problems = new Map<string, string>();
  #groups: Promise<readonly EventCatalogGroup[]> | undefined;
  #choices: readonly EventChoice[];

  constructor(start: StartAdapterWorker, storage: vscode.Memento) {
    this.#start = start;
    this.#storage = storage;
    this.#choices = storage.get<readonly EventChoice[]>(STORED, []);
  }

  attach(connection: AdapterConnection): void {
    this.#connections.add(connection);
    this.#send(connection);
  }

  detach(connection: AdapterConnection): void {
    this.#connections.delete(connection);
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (node === undefined) {
      const groups = await this.#catalog();
      const own = this.#ownEntries();
      const all = own.length === 0 ? groups : [...groups, { ...OWN_GROUP, events: own }];
      return all.map((group) => ({ kind: 'group', group }));
    }
    const entries = node.kind === 'group' ? node.group.events : (node.entry.children ?? []);
    return entries.map((entry) => ({ kind: 'event', entry }));
  }

  getTreeItem(node: Node): vscode.TreeItem {
    const { name, label, description } = node.kind === 'group' ? node.group : node.entry;
    const children = node.kind === 'group' ? node.group.events : (node.entry.children ?? []);
    const item = new vscode.TreeItem(
      label,
      children.length === 0
        ? vscode.TreeItemCollapsibleState.None
        : vscode.TreeItemCollapsibleState.Collapsed,
    );
    const choice = this.#choiceOf(name);
    const problem = this.#problems.get(name);
    const number = node.kind === 'event' ? node.entry.number : undefined;
    item.id = name;
    item.tooltip = problem ?? description;
    item.description = [
      number === undefined ? '' : `${number}`,
      problem ?? describeChoice(choice) ?? '',
    ]
      .filter((text) => text !== '')
      .join('  ');
    item.accessibilityInformation = {
      label: [label, item.description, description].filter((text) => text !== '').join(', '),
    };
    if (name !== OWN_GROUP.name) {
      item.contextValue =
        choice === undefined || this.#isInCatalog(name) ? 'vmEvent' : 'vmEvent own';
      item.checkboxState =
        choice?.isEnabled === true
          ? vscode.TreeItemCheckboxState.Checked
          : vscode.TreeItemCheckboxState.Unchecked;
    }
    if (problem !== undefined) item.iconPath = new vscode.ThemeIcon('warning');
    return item;
  }

  async tick(nodes: readonly (readonly [Node, vscode.TreeItemCheckboxState])[]): Promise<void> {
    for (const [node, state] of nodes) {
      const isEnabled = state === vscode.TreeItemCheckboxState.Checked;
      this.#put(nameOf(node), { isEnabled });
    }
    await this.#keep();
  }

  async edit(node: Node, what: 'condition' | 'hitCondition' | 'logMessage'): Promise<void> {
    const name = nameOf(node);
    const prompts = {
      condition: 'Break only if this is true, for instance: exit.leaf == 1 && rip > 0x100000',
      hitCondition: 'Break at some hits only: 5, >= 3, % 10',
      logMessage: 'Log this and go on, with {expressions}: leaf {eax:x} at {rip}',
    };
    const value = await vscode.window.showInputBox({
      title: name,
      prompt: prompts[what],
      value: this.#choiceOf(name)?.[what] ?? '',
    });
    if (value === undefined) return;
    this.#put(name, { isEnabled: true, [what]: value });
    await this.#keep();
  }

  async add(given?: string): Promise<void> {
    const name =
      given ??
      (await vscode.window.showInputBox({
        title: 'Break on an event',
        prompt: 'KIND:FILTER, or watch:SPACE:FIRST-LAST:ACCESS',
        placeHolder: 'ept-violation:write,0x1000-0x1fff',
      }));
    if (name === undefined || name.trim() === '') return;
    this.#put(name.trim(), { isEnabled: true });
    await this.#keep();
  }

  async remove(node: Node): Promise<void> {
    this.#choices = this.#choices.filter(({ name }) => name !== nameOf(node));
    await this.#keep();
  }

  async clear(): Promise<void> {
    this.#choices = [];
    await this.#keep();
  }

  #known: ReadonlySet<string> = new Set();

  #isInCatalog(name: string): boolean {
    return this.#known.has(name);
  }

  #choiceOf(name: string): EventChoice | undefined {
    return this.#choices.find((choice) => choice.name === name);
  }

  #put(name: string, change: Partial<EventChoice>): void {
    const old = this.#choiceOf(name) ?? { name, isEnabled: false };
    const rest = this.#choices.filter((choice) => choice.name !== name);
    this.#choices = [...rest, { ...old, ...change }];
  }

  async #keep(): Promise<void> {
    await this.#storage.update(STORED, this.#choices);
    for (const connection of this.#connections) this.#send(connection);
    this.#changed.fire(undefined);
  }

  #send(connection: AdapterConnection): void {
    const breakpoints: EventBreakpointRequest[] = requestsOf(this.#choices);
    connection.request('hyperstep/setEventBreakpoints', { breakpoints }).then(
      (response) => {
        this.#problems.clear();
        for (const [index, { verified, message }] of response.breakpoints.entries()) {
          const name = breakpoints[index]?.name;
          if (!verified && name !== undefined) this.#problems.set(name, message ?? 'not set');
        }
        this.#changed.fire(undefined);
      },
      () => {},
    );
  }

  #catalog(): Promise<readonly EventCatalogGroup[]> {
    this.#groups ??= this.#askCatalog();
    return this.#groups;
  }

  async #askCatalog(): Promise<readonly EventCatalogGroup[]> {
    const connection = await connectAdapter(
      this.#start,
      () => {},
      () => {},
    );
    const { groups } = await connection.request('hyperstep/eventCatalog', {});
    connection.close();
    const names = (entry: EventCatalogEntry): string[] => [
      entry.name,
      ...(entry.children ?? []).flatMap(names),
    ];
    this.#known = new Set(groups.flatMap(({ name, events }) => [name, ...events.flatMap(names)]));
    return groups;
  }

  #ownEntries(): EventCatalogEntry[] {
    return this.#choices
      .filter(({ name }) => !this.#isInCatalog(name))
      .map(({ name }) => ({ name, label: name, description: 'Added by name.' }));
  }
}

const nameOf = (node: Node): string => (node.kind === 'group' ? node.group.name : node.entry.name);

/** Registers the tree; what it gives tells debug sessions what is ticked. */
export const registerVmEvents = (
  context: vscode.ExtensionContext,
  start: StartAdapterWorker,
): VmEvents => {
  const tree = new VmEventsTree(start, context.workspaceState);
  const view = vscode.window.createTreeView('hyperstep.vmEvents', {
    treeDataProvider: tree,
    manageCheckboxStateManually: true,
    showCollapseAll: true,
  });
  const command = (name: string, run: (node: Node) => Promise<void>): vscode.Disposable =>
    vscode.commands.registerCommand(`hyperstep.vmEvents.${name}`, run);
  context.subscriptions.push(
    view,
    view.onDidChangeCheckboxState(({ items }) => tree.tick(items)),
    command('editCondition', (node) => tree.edit(node, 'condition')),
    command('editHitCondition', (node) => tree.edit(node, 'hitCondition')),
    command('editLogMessage', (node) => tree.edit(node, 'logMessage')),
    command('remove', (node) => tree.remove(node)),
    command('clear', () => tree.clear()),
    vscode.commands.registerCommand('hyperstep.vmEvents.add', (name?: string) =>
      tree.add(typeof name === 'string' ? name : undefined),
    ),
  );
  return tree;
};
