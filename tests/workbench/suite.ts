/**
 * What must work inside VS Code, in both extension hosts and in Electron: `run` is the contract of
 * `extensionTestsPath`. Each test tells its end by a line "ok - NAME" or "not ok - NAME: WHY".
 */
import * as vscode from 'vscode';

interface Message {
  readonly type: string;
  readonly event?: string;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of DAP events have many shapes
  readonly body?: any;
}

const WAIT_MS = 20_000;
const messages: Message[] = [];
let wake: () => void = () => {};

const check = (condition: boolean, text: string): void => {
  if (!condition) throw new Error(text);
};

/** The next event of a kind, which is taken from the list. */
const next = async (event: string): Promise<Message> => {
  const end = Date.now() + WAIT_MS;
  for (;;) {
    const index = messages.findIndex((message) => message.event === event);
    const found = messages[index];
    if (found !== undefined) {
      messages.splice(0, index + 1);
      return found;
    }
    check(Date.now() < end, `There was no event '${event}' within ${WAIT_MS} ms.`);
    await new Promise<void>((resolve) => {
      wake = resolve;
      setTimeout(resolve, 200);
    });
  }
};

const eventually = async (text: string, condition: () => boolean): Promise<void> => {
  const end = Date.now() + WAIT_MS;
  while (!condition()) {
    check(Date.now() < end, text);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

const session = (): vscode.DebugSession => {
  const active = vscode.debug.activeDebugSession;
  if (active === undefined) throw new Error('There is no debug session.');
  return active;
};

const open = async (path: string): Promise<void> => {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  if (folder === undefined) throw new Error('No folder is open.');
  await vscode.window.showTextDocument(vscode.Uri.joinPath(folder, path));
};

const resume = (): Thenable<unknown> => session().customRequest('continue', { threadId: 256 });

const rows = async (view: string, parent?: string): Promise<{ label: string; detail?: string }[]> =>
  (await session().customRequest('hyperstep/rows', { view, parent })).rows;

const activePath = (): string =>
  vscode.window.activeTextEditor?.document.uri.toString(true) ?? 'no editor';

const tests: readonly (readonly [string, () => Promise<void>])[] = [
  [
    'F5 on hello stops at its entry, in the source',
    async () => {
      await open('hello/main.asm');
      await vscode.commands.executeCommand('workbench.action.debug.start');
      const { body } = await next('stopped');
      check(body.reason === 'entry', `The reason is ${body.reason}.`);
      await eventually(`The editor shows ${activePath()}.`, () =>
        activePath().endsWith('boot.inc'),
      );
      await eventually('No frame has the focus.', () => vscode.debug.activeStackItem !== undefined);
    },
  ],
  [
    'the views have rows',
    async () => {
      const [domain] = await rows('domains');
      check(domain?.label === '1 hello', `The domain is '${domain?.label}'.`);
      const ranges = await rows('p2m', 'd1');
      check(
        ranges.some(({ detail }) => detail?.startsWith('ram') === true),
        'P2M has no RAM.',
      );
      const walk = await rows('pageWalk');
      check(
        walk.some(({ label }) => label.includes('EPT PTE') || label.includes('EPT PDE')),
        'No EPT entry.',
      );
      const vcpus = await rows('vcpus', 'd1.v0/Registers');
      check(
        vcpus.some(({ label }) => label === 'rip'),
        'No register RIP.',
      );
    },
  ],
  [
    'a VM event that is ticked stops in the VM exit, and shows its page',
    async () => {
      await vscode.commands.executeCommand('hyperstep.vmEvents.add', 'vm-exit:cpuid');
      await new Promise((resolve) => setTimeout(resolve, 300));
      await resume();
      const { body } = await next('stopped');
      check(body.description === 'VM exit 10 CPUID', `It stopped: ${body.description}.`);
      await eventually(`The editor shows ${activePath()}.`, () =>
        activePath().startsWith('hyperstep-exit:'),
      );
      await eventually('The page is empty.', () =>
        (vscode.window.activeTextEditor?.document.getText() ?? '').includes(
          '→ 1. Look the leaf up',
        ),
      );
    },
  ],
  [
    'stepping into goes through the hypervisor, stepping out returns to the guest',
    async () => {
      await vscode.commands.executeCommand('workbench.action.debug.stepInto');
      await next('stopped');
      await eventually('The page was not written anew.', () =>
        (vscode.window.activeTextEditor?.document.getText() ?? '').includes(
          '✓ 1. Look the leaf up',
        ),
      );
      await vscode.commands.executeCommand('workbench.action.debug.stepOut');
      await next('stopped');
      await eventually(`The editor shows ${activePath()}.`, () =>
        /\.(asm|inc)$/.test(activePath()),
      );
    },
  ],
  [
    'the generated listing is a document',
    async () => {
      await vscode.commands.executeCommand('hyperstep.showListing');
      await eventually(`The editor shows ${activePath()}.`, () =>
        activePath().startsWith('hyperstep-asm:'),
      );
      const text = vscode.window.activeTextEditor?.document.getText() ?? '';
      check(/^ {4}\w+ .*; 0010/m.test(text), `It says ${text.slice(0, 200)}`);
    },
  ],
  [
    'the guest prints and powers off',
    async () => {
      await vscode.commands.executeCommand('hyperstep.vmEvents.clear');
      await new Promise((resolve) => setTimeout(resolve, 300));
      await resume();
      const { body } = await next('exited');
      check(body.exitCode === 0, `The exit code is ${body.exitCode}.`);
      await eventually(
        'The session does not end.',
        () => vscode.debug.activeDebugSession === undefined,
      );
    },
  ],
  [
    'a balloon event stops',
    async () => {
      await vscode.commands.executeCommand('hyperstep.vmEvents.add', 'balloon:decrease');
      await open('balloon/main.asm');
      await vscode.commands.executeCommand('hyperstep.debugFile');
      await next('stopped');
      await resume();
      const { body } = await next('stopped');
      check(/^Balloon decrease/.test(body.description), `It stopped: ${body.description}.`);
      await vscode.commands.executeCommand('hyperstep.vmEvents.clear');
      await vscode.debug.stopDebugging();
    },
  ],
  [
    'a program with a mistake is refused with its place',
    async () => {
      const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
      if (folder === undefined) throw new Error('No folder is open.');
      const wrong = vscode.Uri.joinPath(folder, 'wrong.asm');
      await vscode.workspace.fs.writeFile(wrong, new TextEncoder().encode('mov rax, [rbx\n'));
      const started = vscode.debug.startDebugging(undefined, {
        type: 'hyperstep',
        request: 'launch',
        name: 'wrong',
        program: wrong.scheme === 'file' ? wrong.fsPath : wrong.toString(),
      });
      await eventually('The launch is not refused.', () =>
        messages.some(
          ({ type, ...rest }) => type === 'response' && /wrong\.asm:1:/.test(JSON.stringify(rest)),
        ),
      );
      await vscode.commands.executeCommand('notifications.clearAll');
      Promise.resolve(started).catch(() => {});
    },
  ],
];

export const run = async (): Promise<void> => {
  vscode.debug.registerDebugAdapterTrackerFactory('hyperstep', {
    createDebugAdapterTracker: () => ({
      onDidSendMessage(message: Message) {
        messages.push(message);
        wake();
      },
    }),
  });
  let failures = 0;
  for (const [name, test] of tests) {
    try {
      await test();
      console.log(`ok - ${name}`);
    } catch (error) {
      failures += 1;
      console.log(`not ok - ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (failures > 0) throw new Error(`${failures} tests failed.`);
};
