/** The scenario of the sample grant-transfer: a machine frame leaves one P2M and enters another. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runProgram } from '../../debug-adapter/command-line/run.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

test('the page is the same machine frame in the other domain, with its text', async () => {
  let text = '';
  const events: string[] = [];
  const code = await runProgram(
    join(root, 'samples/grant-transfer/grant-transfer.hyperstep.json'),
    { trace: ['p2m-change:0x600000'], maxInstructions: 1_000_000 },
    { write: (more) => (text += more), complain: (line) => events.push(line) },
  );

  expect(code).toBe(0);
  expect(text).toContain("(d1) It is another domain's now. Mapping it again gives -16.");
  expect(text).toContain('(d2) A page has come; it says: A text from domain 1.');
  const changes = events.filter((line) => line.includes('p2m-change'));
  expect(changes).toHaveLength(2);
  expect(changes[0]).toMatch(/^d2\..*gfn=0x600 oldType=ram newType=ballooned/);
  expect(changes[1]).toMatch(/^d2\..*gfn=0x600 oldType=ballooned newType=ram mfn=0x/);
});
