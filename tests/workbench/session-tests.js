/**
 * What the extension does inside a real VS Code, asked by VS Code's own API: the contract `run()` of
 * `extensionTestsPath`. The same file runs in the Node extension host, in the web extension host and
 * in the VS Code that @vscode/test-electron downloads; the opened folder is a copy of samples/.
 *
 * Each test prints one line, `test passed: NAME` or `test failed: NAME: REASON`.
 */

const vscode = require('vscode');

const WAIT_MS = 10_000;
/** How long an answer may take. */
const PAUSE_LIMIT_MS = 100;

/** Follows the session: which stops it made, what it printed, what editor and adapter say. */
class Session {
  constructor() {
    this.stops = [];
    this.waiting = [];
    this.output = '';
    this.isFocused = false;
    this.tracker = vscode.debug.registerDebugAdapterTrackerFactory('hyperstep', {
      createDebugAdapterTracker: (session) => {
        this.session = session;
        return { onDidSendMessage: (message) => this.take(message) };
      },
    });
    this.focus = vscode.debug.onDidChangeActiveStackItem((item) => {
      if (item?.frameId !== undefined) this.isFocused = true;
    });
  }

  take({ type, event, body }) {
    if (type !== 'event') return;
    if (event === 'output') this.output += body.output;
    if (event !== 'stopped' && event !== 'terminated') return;
    this.isFocused = false;
    const waiter = this.waiting.shift();
    if (waiter === undefined) this.stops.push({ event, body });
    else waiter({ event, body });
  }

  /** The next stop, or the end. */
  async next() {
    const stop = this.stops.shift();
    if (stop !== undefined) return stop;
    return within('the next stop', new Promise((resolve) => this.waiting.push(resolve)));
  }

  /** The next stop, once the editor shows its frame: only then do its commands act on it. */
  async stop() {
    const { event, body } = await this.next();
    check(event === 'stopped', `the guest ended; it printed ${this.output}`);
    await until('a frame has the focus', () => this.isFocused);
    return body;
  }

  ask(command, args = {}) {
    return within(command, this.session.customRequest(command, args));
  }

  async topFrame(threadId) {
    const { stackFrames } = await this.ask('stackTrace', { threadId, startFrame: 0, levels: 20 });
    return stackFrames[0];
  }

  async close() {
    await vscode.debug.stopDebugging();
    await until('the session ends', () => vscode.debug.activeDebugSession === undefined);
    this.tracker.dispose();
    this.focus.dispose();
    await vscode.commands.executeCommand('hyperstep.vmEvents.clear');
    vscode.debug.removeBreakpoints(vscode.debug.breakpoints);
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
  }
}

const check = (condition, message) => {
  if (!condition) throw new Error(message);
};

const equal = (actual, expected, what) =>
  check(
    actual === expected,
    `${what} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`,
  );

const matches = (actual, pattern, what) =>
  check(pattern.test(actual), `${what} is ${JSON.stringify(actual)}, which is not ${pattern}`);

const within = (what, promise) =>
  Promise.race([
    promise,
    new Promise((_, reject) =>
      setTimeout(() => reject(new Error(`${what}: nothing in ${WAIT_MS} ms`)), WAIT_MS),
    ),
  ]);

const until = async (what, isTrue) => {
  const end = Date.now() + WAIT_MS;
  while (!(await isTrue())) {
    check(Date.now() < end, `${what}: not in ${WAIT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const sampleUri = (path) => vscode.Uri.joinPath(vscode.workspace.workspaceFolders[0].uri, path);

/** Opens a sample and presses F5; there is no launch.json. */
const startOn = async (path) => {
  await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(sampleUri(path)));
  const session = new Session();
  await vscode.commands.executeCommand('workbench.action.debug.start');
  return session;
};

const rowsOf = async (session, args) => (await session.ask('hyperstep/rows', args)).rows;

const tests = {
  'the extension is there and activates': async () => {
    const extension = vscode.extensions.getExtension('hyperstep.hyperstep');
    check(extension !== undefined, 'this host has no extension hyperstep.hyperstep');
    await within('activation', extension.activate());
    const commands = await vscode.commands.getCommands(true);
    check(commands.includes('hyperstep.debugFile'), 'the commands are missing');
  },

  'F5 without launch.json stops at the entry, in the source': async () => {
    const session = await startOn('hello/main.asm');
    const { reason, threadId } = await session.stop();
    equal(reason, 'entry', 'the reason');
    const frame = await session.topFrame(threadId);
    equal(frame.name, '_start', 'the top frame');
    await until('the editor shows the line', () => {
      const editor = vscode.window.activeTextEditor;
      return (
        /\.(asm|inc)$/.test(editor?.document.uri.path ?? '') &&
        editor.selection.active.line === frame.line - 1
      );
    });
    matches(
      vscode.window.activeTextEditor.document.lineAt(frame.line - 1).text,
      /\w/,
      'the line of the entry',
    );
    await session.close();
  },

  'a line breakpoint set in the editor is hit': async () => {
    const uri = sampleUri('hello/main.asm');
    const text = (await vscode.workspace.openTextDocument(uri)).getText().split('\n');
    const line = text.findIndex((one) => one.trim() === 'ret');
    vscode.debug.addBreakpoints([
      new vscode.SourceBreakpoint(new vscode.Location(uri, new vscode.Position(line, 0))),
    ]);
    const session = await startOn('hello/main.asm');
    await session.stop();
    await vscode.commands.executeCommand('workbench.action.debug.continue');
    const { reason, threadId } = await session.stop();
    equal(reason, 'breakpoint', 'the reason');
    equal((await session.topFrame(threadId)).line, line + 1, 'the line');
    matches(session.output, /Hello from a guest\./, 'the console');
    await session.close();
  },

  'hello runs to its end': async () => {
    const session = await startOn('hello/main.asm');
    await session.stop();
    await vscode.commands.executeCommand('workbench.action.debug.continue');
    equal((await session.next()).event, 'terminated', 'what came');
    matches(session.output, /Hello from a guest\./, 'the console');
    matches(session.output, /VMCALL/, 'the table of exits');
    await session.close();
  },

  'a VM exit is broken on, read and stepped through': async () => {
    await vscode.commands.executeCommand('hyperstep.vmEvents.add', 'vm-exit:cpuid');
    const session = await startOn('cpuid-exits/main.asm');
    await session.stop();
    await vscode.commands.executeCommand('workbench.action.debug.continue');
    const { description, threadId } = await session.stop();
    equal(description, 'VM exit 10 CPUID', 'the description');
    matches(session.output, /^VM exit 10 CPUID\n {4}d1\.v0 at RIP/m, 'the console');
    const frame = await session.topFrame(threadId);
    await until(
      'the page of the exit is open',
      () => vscode.window.activeTextEditor?.document.uri.scheme === 'hyperstep-exit',
    );
    const page = vscode.window.activeTextEditor.document;
    await until('the page has its text', () => page.lineCount > 5);
    matches(page.lineAt(frame.line - 1).text, /1\. /, 'the line of the page');
    await vscode.commands.executeCommand('workbench.action.debug.stepInto');
    const step = await session.stop();
    equal((await session.topFrame(step.threadId)).line, frame.line + 1, 'the next step');
    await until('the page has the step marked', () =>
      page.lineAt(frame.line).text.startsWith('  → '),
    );
    await until('the cursor is on the next step', () => {
      const { document, selection } = vscode.window.activeTextEditor;
      return document === page && selection.active.line === frame.line;
    });
    await vscode.commands.executeCommand('workbench.action.debug.stepOut');
    const back = await session.stop();
    matches((await session.topFrame(back.threadId)).source.path, /\.(asm|inc)$/, 'the source');
    await session.close();
  },

  'the trees have rows': async () => {
    const session = await startOn('hello/main.asm');
    const { threadId } = await session.stop();
    const labels = async (args) => (await rowsOf(session, args)).map(({ label }) => label);
    equal((await labels({ view: 'domains' })).join(), '0 Domain-0,1 hello', 'the domains');
    equal((await labels({ view: 'vcpus' })).length, 1, 'the number of vCPUs');
    const ranges = await rowsOf(session, { view: 'p2m', parent: 'd1' });
    check(
      ranges.some(({ detail }) => /ram/.test(detail)),
      'no range of the P2M is ram',
    );
    for (const view of ['domains', 'vcpus', 'p2m', 'pageWalk', 'vmEvents']) {
      await vscode.commands.executeCommand(`hyperstep.${view}.focus`);
    }
    const before = await labels({ view: 'pageWalk', threadId, input: 'rip' });
    matches(before[0], /^rip = 0x/, 'the first row of the walk');
    const bad = await labels({ view: 'pageWalk', threadId, input: 'no_such_name' });
    matches(bad.join(), /no_such_name/, 'the walk of nonsense');
    await session.close();
  },

  'a balloon event stops, and the P2M shows the hole': async () => {
    await vscode.commands.executeCommand('hyperstep.vmEvents.add', 'balloon:decrease');
    const session = await startOn('balloon/main.asm');
    await session.stop();
    await vscode.commands.executeCommand('workbench.action.debug.continue');
    const { description, text } = await session.stop();
    matches(`${description} ${text}`, /balloon|decrease/i, 'the description');
    const ranges = await rowsOf(session, { view: 'p2m', parent: 'd1' });
    check(ranges.length > 1, 'the P2M has one range only');
    await session.close();
  },

  'the machine memory picture follows the machine': async () => {
    const maps = [];
    const tracker = vscode.debug.registerDebugAdapterTrackerFactory('hyperstep', {
      createDebugAdapterTracker: () => ({
        onDidSendMessage({ type, command, body }) {
          if (type === 'response' && command === 'hyperstep/memoryMap') maps.push(body);
        },
      }),
    });
    await vscode.commands.executeCommand('hyperstep.vmEvents.add', 'balloon:decrease');
    const session = await startOn('balloon/main.asm');
    await session.stop();
    await vscode.commands.executeCommand('hyperstep.showMemoryMap');
    const isThere = ({ input }) =>
      input instanceof vscode.TabInputWebview && input.viewType.endsWith('hyperstep.memoryMap');
    await until('the picture has a tab', () =>
      vscode.window.tabGroups.all.some(({ tabs }) => tabs.some(isThere)),
    );
    // Its script runs: it has said that it is ready.
    await until('the picture asks for the map', () => maps.length > 0);
    const emptied = () => maps.at(-1).states.find(({ kind }) => kind === 'ballooned')?.count ?? 0;
    const before = emptied();
    await session.ask('continue', { threadId: 256 });
    await session.stop();
    await until('the picture shows the stop', () => emptied() > before);
    tracker.dispose();
    await session.close();
  },

  'a log message does not stop': async () => {
    await vscode.commands.executeCommand('hyperstep.vmEvents.add', 'no-such-kind:cpuid');
    const session = await startOn('cpuid-exits/main.asm');
    await session.stop();
    const { breakpoints } = await session.ask('hyperstep/setEventBreakpoints', {
      breakpoints: [
        { name: 'vm-exit:cpuid', logMessage: 'leaf {eax}' },
        { name: 'no-such-kind:cpuid' },
      ],
    });
    equal(breakpoints.map(({ verified }) => verified).join(), 'true,false', 'what is verified');
    matches(breakpoints[1].message, /no-such-kind/, 'why not');
    await vscode.commands.executeCommand('workbench.action.debug.continue');
    equal((await session.next()).event, 'terminated', 'what came');
    matches(session.output, /leaf 0x1\b/, 'the log');
    await session.close();
  },

  'a guest that spins is paused at once': async () => {
    const uri = sampleUri('hello/spin.asm');
    const text = '%include "boot.inc"\nmain:\n        inc     eax\n        jmp     main\n';
    await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode(text));
    const session = await startOn('hello/spin.asm');
    const { threadId } = await session.stop();
    await vscode.commands.executeCommand('workbench.action.debug.continue');
    const times = [];
    for (let round = 0; round < 5; round += 1) {
      const start = Date.now();
      await session.ask('threads');
      times.push(Date.now() - start);
    }
    const start = Date.now();
    await session.ask('pause', { threadId });
    const { body } = await session.next();
    times.push(Date.now() - start);
    equal(body.reason, 'pause', 'the reason');
    times.sort((a, b) => a - b);
    // The machine that tests may be busy; a guest that is not interrupted makes all of them slow.
    check(times[1] < PAUSE_LIMIT_MS, `the answers took ${times.join(', ')} ms`);
    await session.close();
    await vscode.workspace.fs.delete(uri);
  },

  'the listing of the guest is a document': async () => {
    const session = await startOn('hello/main.asm');
    await session.stop();
    await vscode.commands.executeCommand('hyperstep.showListing');
    await until('the listing is open', () =>
      vscode.window.visibleTextEditors.some(
        ({ document }) => document.uri.scheme === 'hyperstep-asm' && document.lineCount > 3,
      ),
    );
    await session.close();
  },

  'the console takes xl': async () => {
    const session = new Session();
    const scenario = sampleUri('two-domains/two-domains.hyperstep.json');
    await vscode.commands.executeCommand('hyperstep.debugFile', scenario);
    await session.stop();
    const { result } = await session.ask('evaluate', { expression: 'xl list', context: 'repl' });
    matches(result, /^Name +ID/, 'the head of xl list');
    check(/polite/.test(result) && /greedy/.test(result), `a domain is missing in ${result}`);
    await session.close();
  },

  'a syntax error refuses with file and line': async () => {
    const uri = sampleUri('wrong.asm');
    await vscode.workspace.fs.writeFile(uri, new TextEncoder().encode('mov rax, [rbx\n'));
    const failed = new Promise((resolve) => {
      const tracker = vscode.debug.registerDebugAdapterTrackerFactory('hyperstep', {
        createDebugAdapterTracker: () => ({
          onDidSendMessage({ type, command, success, message, body }) {
            if (type !== 'response' || command !== 'launch') return;
            tracker.dispose();
            resolve({ success, sentence: body?.error?.format ?? message });
          },
        }),
      });
    });
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri));
    const folder = vscode.workspace.workspaceFolders[0];
    const configuration = {
      type: 'hyperstep',
      request: 'launch',
      name: 'wrong',
      program: uri.scheme === 'file' ? uri.fsPath : uri.toString(),
    };
    vscode.debug.startDebugging(folder, configuration, { suppressDebugStatusbar: true }).then(
      () => {},
      () => {},
    );
    const { success, sentence } = await within('the answer to launch', failed);
    equal(success, false, 'success');
    matches(sentence, /wrong\.asm:1:/, 'the sentence');
    await vscode.commands.executeCommand('notifications.clearAll');
    await vscode.workspace.fs.delete(uri);
  },
};

exports.run = async () => {
  let failures = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`test passed: ${name}`);
    } catch (error) {
      failures += 1;
      console.log(`test failed: ${name}: ${error.message ?? error}`);
      await vscode.debug.stopDebugging();
      await vscode.commands.executeCommand('hyperstep.vmEvents.clear').then(undefined, () => {});
      vscode.debug.removeBreakpoints(vscode.debug.breakpoints);
    }
  }
  if (failures > 0) throw new Error(`${failures} failed`);
};
