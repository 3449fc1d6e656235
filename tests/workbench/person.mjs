/**
 * The packed extension as a person uses it: trusts the folder, opens a guest, presses F5, ticks a
 * VM event, reads call stack, trees and the page of an exit, types `xl list`. Every step takes a
 * screenshot, named in the order of the steps.
 */
import { join } from 'node:path';

const WAIT = { timeout: 15_000 };

export async function driveAsPerson({ browser, url, screenshots, report }) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  let shots = 0;
  const shoot = async (name) => {
    shots += 1;
    const number = String(shots).padStart(2, '0');
    await page.screenshot({ path: join(screenshots, `${number}-${name}.png`) });
  };
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step(page, url, shoot);
      report(name);
    } catch (error) {
      await shoot('failed');
      report(name, error instanceof Error ? error.message : String(error));
      return;
    }
  }
}

const steps = {
  'opens a guest, colored': async (page, url, shoot) => {
    await page.goto(url);
    await page.waitForSelector('.monaco-workbench', WAIT);
    await page.waitForTimeout(1500);
    await command(page, 'View: Toggle Secondary Side Bar Visibility', true);
    await open(page, 'cpuid-exits/main.asm');
    await page.waitForSelector('.view-line .mtk6, .view-line .mtk5, .view-line .mtk7', WAIT);
    await shoot('guest');
  },

  'ticks CPUID in VM Events, before the first start': async (page, _url, shoot) => {
    await activity(page, 'Hyperstep').click({ force: true });
    const group = row(page, /^VM exits/);
    await group.waitFor(WAIT);
    await shoot('events');
    await group.click();
    await page.keyboard.press('ArrowRight');
    const cpuid = row(page, /^CPUID/);
    await cpuid.waitFor(WAIT);
    await cpuid
      .locator('.monaco-custom-toggle, .custom-view-tree-node-item-checkbox')
      .first()
      .click();
    await page.waitForTimeout(300);
    await shoot('events-ticked');
  },

  'F5 asks for trust, then stops at the entry': async (page, _url, shoot) => {
    await page.locator('.editor-group-container .view-lines').first().click();
    await page.keyboard.press('F5');
    const trust = page.getByRole('button', { name: /Trust Folder/ });
    await trust.waitFor(WAIT);
    await shoot('trust');
    await trust.click();
    await page.waitForSelector('.debug-top-stack-frame-line, .codicon-debug-stackframe', WAIT);
    await page.waitForTimeout(500);
    await shoot('entry-trees');
    await activity(page, 'Run and Debug').click({ force: true });
    await page.waitForSelector('.debug-call-stack .stack-frame', WAIT);
    await page.waitForTimeout(500);
    await shoot('entry');
  },

  'continues into the VM exit, whose page explains it': async (page, _url, shoot) => {
    await page.keyboard.press('F5');
    await page.getByText('VM exit 10 CPUID').first().waitFor(WAIT);
    await page.waitForTimeout(700);
    await shoot('exit');
    await page.keyboard.press('F11');
    await page.waitForTimeout(1500);
    await shoot('exit-step');
    const top = async (selector) => (await page.locator(selector).first().boundingBox()).y;
    const marked = await top('.view-line:has-text("→ ")');
    const highlighted = await top('.debug-top-stack-frame-line');
    if (marked !== highlighted) {
      throw new Error(`The next step is at ${marked}, what is highlighted at ${highlighted}.`);
    }
  },

  'reads the trees': async (page, _url, shoot) => {
    await activity(page, 'Hyperstep').click({ force: true });
    await row(page, /^1 cpuid-exits/).waitFor(WAIT);
    await shoot('domains');
    await collapse(page, 'VM Events');
    await expand(page, 'vCPUs');
    await row(page, /^d1\.v0/)
      .last()
      .waitFor(WAIT);
    await shoot('vcpus');
    await collapse(page, 'vCPUs');
    await expand(page, 'P2M');
    await row(page, /cpuid-exits/)
      .last()
      .waitFor(WAIT);
    await row(page, /cpuid-exits/)
      .last()
      .click();
    await page.keyboard.press('ArrowRight');
    await expand(page, 'Page Walk');
    await row(page, /^rip = 0x/).waitFor(WAIT);
    await page.waitForTimeout(500);
    await shoot('p2m-page-walk');
  },

  'walks an address that is typed': async (page, _url, shoot) => {
    await command(page, 'Hyperstep: Walk an Address');
    await page.keyboard.type('rsp');
    await page.keyboard.press('Enter');
    await row(page, /^rsp = 0x/).waitFor(WAIT);
    await shoot('page-walk');
  },

  'opens the machine memory picture': async (page, _url, shoot) => {
    await command(page, 'Hyperstep: Show Machine Memory');
    const picture = webview(page);
    await picture.locator('#legend button').first().waitFor(WAIT);
    await page.waitForTimeout(500);
    await shoot('memory-picture');
    await picture.getByRole('button', { name: /^RAM/ }).last().click();
    await picture.locator('#scroller').focus();
    for (const key of ['End', 'ArrowDown', 'ArrowDown', 'Home', 'ArrowRight', 'Enter']) {
      await page.keyboard.press(key);
    }
    await picture.getByRole('heading', { name: /^mfn 0x[0-9a-f]+: / }).waitFor(WAIT);
    for (const _ of [1, 2, 3]) await picture.getByRole('button', { name: 'Zoom in' }).click();
    const box = await picture.locator('#cells').boundingBox();
    await page.mouse.move(box.x + 60, box.y + 60);
    await picture.locator('#tip dl').waitFor(WAIT);
    await shoot('memory-picture-frame');
    await command(page, 'View: Close Editor');
  },

  'types xl list in the Debug Console': async (page, _url, shoot) => {
    await command(page, 'Debug Console: Focus on Debug Console View');
    await page.keyboard.type('xl list');
    await page.keyboard.press('Enter');
    await page
      .getByText(/State\s+Time/)
      .first()
      .waitFor(WAIT);
    await shoot('console');
  },

  'steps out to the next instruction of the guest': async (page, _url, shoot) => {
    await page.locator('.debug-toolbar .codicon-debug-step-out').first().click();
    await page.waitForTimeout(1000);
    await activity(page, 'Run and Debug').click({ force: true });
    await page.waitForSelector('.debug-call-stack .stack-frame', WAIT);
    await page.waitForTimeout(500);
    await shoot('guest-again');
  },

  'shows the picture in high contrast': async (page, _url, shoot) => {
    // VS Code follows the system to a theme of high contrast.
    await page.emulateMedia({ forcedColors: 'active' });
    await page.waitForSelector('.monaco-workbench:is(.hc-black, .hc-light)', WAIT);
    await command(page, 'Hyperstep: Show Machine Memory');
    await webview(page).locator('#legend button').first().waitFor(WAIT);
    await page.waitForTimeout(700);
    for (const _ of [1, 2, 3, 4]) {
      await webview(page).getByRole('button', { name: 'Zoom in' }).click();
    }
    await page.waitForTimeout(300);
    await shoot('memory-picture-contrast');
    await page.emulateMedia({ forcedColors: 'none' });
  },

  stops: async (page) => {
    await page.keyboard.press('Shift+F5');
    await page
      .locator('.debug-toolbar')
      .first()
      .waitFor({ state: 'hidden', ...WAIT });
  },
};

/** The page within a webview, which is two frames deep. */
const webview = (page) => page.frameLocator('iframe.webview').frameLocator('#active-frame');

const activity = (page, title) =>
  page.locator(`.activitybar .action-label[aria-label^="${title}"]`).first();

const row = (page, label) =>
  page
    .locator('.sidebar .monaco-list-row')
    .filter({ has: page.locator('.label-name', { hasText: label }) })
    .first();

const header = (page, title) =>
  page
    .locator('.sidebar .pane-header')
    .filter({ hasText: new RegExp(`^\\s*${title}`, 'i') })
    .first();

const setPane = async (page, title, isExpanded) => {
  const pane = header(page, title);
  if ((await pane.getAttribute('aria-expanded')) !== `${isExpanded}`) await pane.click();
};
const expand = (page, title) => setPane(page, title, true);
const collapse = (page, title) => setPane(page, title, false);

/** Runs a command of the palette by its title; one that is not there is left when `isOptional`. */
const command = async (page, title, isOptional = false) => {
  await page.keyboard.press('F1');
  await page.locator('.quick-input-widget input').first().waitFor(WAIT);
  await page.keyboard.type(title);
  const found = page
    .locator('.quick-input-list .monaco-list-row')
    .filter({ hasText: title.split(': ').at(-1) })
    .first();
  const isThere = await found.waitFor({ timeout: isOptional ? 3000 : WAIT.timeout }).then(
    () => true,
    () => false,
  );
  if (!isThere && !isOptional) throw new Error(`The palette has no '${title}'.`);
  await page.keyboard.press(isThere ? 'Enter' : 'Escape');
  await page.waitForTimeout(300);
};

const open = async (page, path) => {
  await page.keyboard.press('Control+p');
  await page.locator('.quick-input-widget input').first().waitFor(WAIT);
  await page.keyboard.type(path);
  await page
    .locator('.quick-input-list .monaco-list-row')
    .filter({ hasText: 'main.asm' })
    .first()
    .waitFor(WAIT);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.editor-group-container .view-line', WAIT);
};
