import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { assemble } from './index.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const flat = (source: string) => assemble(source, { format: 'bin' });
const errors = (source: string, format: 'bin' | 'elf64' = 'bin') =>
  assemble(source, { format }).diagnostics.filter(({ severity }) => severity === 'error');

/** Source and image; each is also given to nasm, where there is one. */
const CASES: readonly [string, string, string][] = [
  [
    'data',
    'db 1,"ab",`\\n`\ndw "abc",-1\ndd 1.5\ndq 0x1_0000\n',
    '016162 0a 61626300 ffff 0000c03f 0000010000000000',
  ],
  [
    'mov of short constants',
    'bits 64\nmov rax,5\nmov rax,-1\nmov rax,0x123456789\n',
    'b805000000 48c7c0ffffffff 48b88967452301000000',
  ],
  [
    'jumps grow only as needed',
    'bits 32\na: jmp b\ntimes 10 nop\nb: jz a\njmp c\ntimes 200 nop\nc:\n',
    `eb0a ${'90'.repeat(10)} 74f2 e9c8000000 ${'90'.repeat(200)}`,
  ],
  ['times and $', 'bits 16\ntimes 6-($-$$) db 7\ndw 0xaa55\n', '070707070707 55aa'],
  [
    'addresses',
    'bits 64\nmov eax,[rax*2]\nmov eax,[nosplit rax*2]\nmov eax,[rsp]\nmov eax,[rbp]\nmov rax,[0x10]\n',
    '8b0400 8b044500000000 8b0424 8b4500 488b042510000000',
  ],
  ['local labels', 'bits 32\na:\n.x: jmp .x\nb:\n.x: jmp .x\njmp a.x\n', 'ebfe ebfe ebfa'],
  ['macros', '%macro two 1-2 9\ndb %1,%2,%0\n%endmacro\ntwo 1\ntwo 1,2\n', '010902 010202'],
  [
    'macro locals and rotation',
    '%macro each 1-*\n%rep %0\ndb %1\n%rotate 1\n%endrep\n%%l: db %%l\n%endmacro\neach 1,2,3\neach 4\n',
    '010203 03 04 05',
  ],
  [
    'conditions',
    '%define X 2\n%if X > 1\ndb 1\n%elif X\ndb 2\n%else\ndb 3\n%endif\n%ifdef Y\ndb 4\n%endif\n%ifidni aB, Ab\ndb 5\n%endif\n',
    '0105',
  ],
  ['conditions on addresses', 'db 1,2,3\n%if $-$$ = 3\ndb 9\n%endif\n', '01020309'],
  [
    'functions',
    '%define f(x,y) ((x)*(y))\n%assign i f(2,3)\ndb i, f(i,2)\n%strlen n "abcd"\ndb n\n%substr s "abcd" 2,2\ndb s\n',
    '060c 04 6263',
  ],
  [
    'structures',
    'struc p\n.a: resb 2\n.b: resd 1\nendstruc\ndb p.b, p_size\nistruc p\nat p.b, dd 7\niend\n',
    '0206 0000 07000000',
  ],
  ['contexts', '%push c\n%define %$v 5\ndb %$v\n%$l: db %$l\n%pop\n', '0501'],
  ['alignment', 'bits 64\nnop\nalign 4\nret\nalign 8, db 0\n', '90909090 c3000000'],
  [
    'sections',
    'org 0x100\nsection .data\nd: dw 1\nsection .text\ndw d\nsection .bss\nb: resb 4\nsection .text\ndw b\n',
    '0401 0801 0100',
  ],
  ['expressions', 'db 7/2, 7 % 4, -7//2, 1<<3, 5&4|1, 1 ? 2 : 3, !0, 3<=>2\n', '0303fd0805020101'],
  [
    'prefixes',
    'bits 64\nlock inc dword [rax]\nrep movsb\nmov eax,[fs:rax]\no16 push 5\n',
    'f0ff00 f3a4 648b00 666a05',
  ],
  ['equ and forward references', 'dw e\ne equ f-2\nf: db 0\n', '0000 00'],
];

const compact = (text: string) => text.replaceAll(' ', '');

test.each(CASES)('%s', (_name, source, expected) => {
  const { bytes, diagnostics } = flat(source);

  expect(diagnostics).toEqual([]);
  expect(hex(bytes)).toBe(compact(expected));
});

test('nasm assembles the same sources to the same images', () => {
  if (spawnSync('nasm', ['-v']).status !== 0) {
    console.log('nasm is not on PATH: the comparison with it is left out.');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'assemble-'));
  for (const [name, source, expected] of CASES) {
    writeFileSync(join(folder, 'a.asm'), source);
    const run = spawnSync('nasm', ['-f', 'bin', '-o', 'a.bin', 'a.asm'], { cwd: folder });
    expect(run.stderr.toString().includes('error'), `${name}: ${run.stderr}`).toBe(false);
    expect(hex(readFileSync(join(folder, 'a.bin'))), name).toBe(compact(expected));
  }
});

test('an executable has its sections where ld puts them, and its entry at _start', () => {
  const { bytes, entry, sections } = assemble(
    'section .note.Xen note alloc noexec nowrite align=4\ndd 4,4,18\ndb "Xen",0\ndd _start\n' +
      'section .text\nglobal _start\nnop\n_start: mov rax,[rel d]\nsection .data\nd: dq 1\nsection .bss\nresb 9\n',
  );
  const at = Object.fromEntries(sections.map(({ name, address }) => [name, address]));

  expect(entry).toBe(0x10_0001n);
  expect(at['.text']).toBe(0x10_0000n);
  expect(at['.data']).toBe(0x10_1000n);
  expect(hex(bytes.subarray(0, 8))).toBe('7f454c4602010100');
  const text = sections.find(({ name }) => name === '.text')?.fileOffset ?? 0;
  expect(hex(bytes.subarray(text, text + 8))).toBe('90488b05f80f0000');
});

test('symbols carry full names, addresses and sizes', () => {
  const { symbols } = assemble('global main\nmain: nop\n.loop: jmp .loop\nnext: ret\nN equ 5\n');

  expect(symbols.map(({ name, kind, sizeBytes }) => [name, kind, sizeBytes])).toEqual([
    ['main', 'label', 3],
    ['main.loop', 'label', 2],
    ['next', 'label', 1],
    ['N', 'equ', undefined],
  ]);
});

test('a line entry inside a macro names the call, and the body behind it', () => {
  const { lines } = assemble('%macro m 0\nnop\nret\n%endmacro\nm\n');

  expect(lines.map(({ line, expansion }) => [line, expansion?.[0]?.line])).toEqual([
    [5, 2],
    [5, 3],
  ]);
});

test.each([
  ['mov rax, [rbx', 1, 'Expected `]`'],
  ['nop\nmvo eax, 1', 2, 'neither an instruction nor a macro'],
  ['bits 64\nmov eax, rbx', 2, 'does not take these operands'],
  ['jmp nowhere', 1, '`nowhere` is not defined'],
  ['a:\na:', 2, 'is defined already'],
  ['%if 1\nnop', 1, 'has no `%endif`'],
  ['%macro m 0\nnop', 1, 'has no `%endmacro`'],
  ['%macro m 0\nm\n%endmacro\nm', 2, 'calls itself'],
  ['%rep 100000000\nnop\n%endrep', 1, 'repeats at most'],
  ['times 100000000000 db 0', 1, 'repeats at most'],
  ['bits 64\nmov [rax], 5', 2, 'not clear'],
  ['%include "none.inc"', 1, 'cannot be read'],
  ['extern f\ncall f', 2, 'nothing defines it'],
  ['db 1/0', 1, 'Division by zero'],
])('one mistake, one message: %j', (source, line, message) => {
  const found = errors(source);

  expect(found.map((one) => one.range.startLine)).toEqual([line]);
  expect(found[0]?.message).toContain(message);
});

test('the index links uses with definitions', () => {
  const { syntax } = flat('%define N 3\nmain: mov al, N\njmp main\n');
  const definition = syntax.definitions.findIndex(({ name }) => name === 'main');

  expect(syntax.definitions.map(({ name, kind }) => [name, kind])).toContainEqual(['N', 'define']);
  expect(syntax.references).toContainEqual(
    expect.objectContaining({ name: 'main', definitions: [definition] }),
  );
});

test('10,000 damaged sources neither throw nor hang', () => {
  const seed = CASES.map(([, source]) => source).join('\n');
  const junk = [
    '%',
    '[',
    ']',
    '(',
    '"',
    '`',
    '%macro',
    '%rep 9',
    '%endrep',
    ',',
    ':',
    '{',
    '$',
    '%$',
    '%%',
    '9',
    'times -1',
    '%if',
    '\\',
    '?',
    '-',
  ];
  let state = 12_345;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >> 8) % below;
  };
  const lines = seed.split('\n');
  const started = performance.now();
  for (let i = 0; i < 10_000; i++) {
    const first = random(lines.length);
    let source = lines.slice(first, first + 1 + random(6)).join('\n');
    for (let k = random(4); k >= 0; k--) {
      const at = random(source.length + 1);
      const cut = at + random(4);
      source = source.slice(0, at) + (junk[random(junk.length)] ?? '') + source.slice(cut);
    }
    const { diagnostics, bytes } = assemble(source, { format: i % 2 === 0 ? 'bin' : 'elf64' });
    const failed = diagnostics.some(({ severity }) => severity === 'error');
    expect(failed && bytes.length > 0, source).toBe(false);
  }
  expect(performance.now() - started).toBeLessThan(60_000);
});
