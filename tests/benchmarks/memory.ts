/**
 * The memory of guests: EPT violations that get a page a frame, the scan for pages to share, a
 * balloon, the P2M as people see it. Memory has been used before: its first touch is the host's.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assemble } from '../../assembler/index.ts';
import { createFrames } from '../../emulator/hypervisor/frames.ts';
import { buildTestMachine } from '../../emulator/hypervisor/memory/test-machine.ts';
import { createP2m } from '../../emulator/hypervisor/p2m.ts';
import { p2mRanges } from '../../emulator/hypervisor/p2m-ranges.ts';
import { createMachine, type Gfn, type MachineConfig, type Mfn } from '../../emulator/index.ts';
import { createMachineMemory } from '../../emulator/memory/machine-memory.ts';
import { type Benchmark, processorSeconds } from './benchmark.ts';

/** The bundle that runs is elsewhere, in the same folder of the repository. */
const samples = 'samples';
const readFile = (path: string) => {
  const place = join(samples, 'include', path);
  return { path: place, bytes: readFileSync(place) };
};
const PAGES = 65_536;
const DOMAIN_BYTES = 384 << 20;

/** Runs a guest that makes a hypercall before and after what is measured; the time of the last pair. */
const lastStretch = (source: string, config: Omit<MachineConfig, 'domains'>): number => {
  const { bytes: program } = assemble(source, { path: join(samples, 'benchmark.asm'), readFile });
  const machine = createMachine({
    ...config,
    domains: [{ name: 'guest', program, memoryBytes: DOMAIN_BYTES }],
  });
  const marks: number[] = [];
  machine.events.subscribe(['hypercall'], (event) => {
    const isMark = event.kind === 'hypercall' && event.name === 'xen_version';
    if (isMark && event.stage === 'return') marks.push(processorSeconds());
    return undefined;
  });
  machine.run(100_000_000);
  const [start = 0, end = 0] = marks.slice(-2);
  return end - start;
};

const UNSHARE = `
%include "boot.inc"
main:   mov     ebx, 4
.round: mov     ecx, 3000000                    ; the scan comes
.wait:  loop    .wait
        hypercall __HYPERVISOR_xen_version, XENVER_version
        mov     edi, 0x800000
        mov     ecx, ${PAGES}
.write: mov     qword [rdi], 1
        add     edi, PAGE_SIZE
        loop    .write
        hypercall __HYPERVISOR_xen_version, XENVER_version
        mov     edi, 0x800000
        mov     ecx, ${PAGES}
.zero:  mov     qword [rdi], 0
        add     edi, PAGE_SIZE
        loop    .zero
        dec     ebx
        jnz     .round
        ret
`;

const unshare: Benchmark = {
  name: 'unshare',
  unit: 'violations',
  required: { rate: 500_000 },
  here: () => ({
    units: PAGES,
    seconds: lastStretch(UNSHARE, {
      sharing: { intervalMs: 1, pagesPerScan: 200_000, mode: 'zero' },
    }),
  }),
};

/** 64 MiB in 100 ms. */
const BALLOON_PAGES = 16_384;
const BALLOON = `
%include "boot.inc"
main:   mov     eax, 0x800
        mov     edi, gfns
        mov     ecx, ${BALLOON_PAGES}
.gfn:   stosq
        inc     eax
        loop    .gfn
        mov     ebx, 3
.round: hypercall __HYPERVISOR_xen_version, XENVER_version
        hypercall __HYPERVISOR_memory_op, XENMEM_decrease_reservation, reservation
        hypercall __HYPERVISOR_xen_version, XENVER_version
        hypercall __HYPERVISOR_memory_op, XENMEM_populate_physmap, reservation
        dec     ebx
        jnz     .round
        ret
section .data
align 8
reservation:
istruc xen_memory_reservation
        at xen_memory_reservation.extent_start, dq gfns
        at xen_memory_reservation.nr_extents,   dq ${BALLOON_PAGES}
        at xen_memory_reservation.domid,        dw DOMID_SELF
iend
section .bss
alignb 4096
gfns:   resq    ${BALLOON_PAGES}
`;

const balloon: Benchmark = {
  name: 'balloon',
  unit: 'pages',
  required: { rate: BALLOON_PAGES / 0.1 },
  here: () => ({ units: BALLOON_PAGES, seconds: lastStretch(BALLOON, {}) }),
};

const scan: Benchmark = {
  name: 'share scan',
  unit: 'bytes',
  required: { rate: 2 ** 30 },
  here() {
    const bytes = 512 << 20;
    const machine = buildTestMachine(bytes + (96 << 20), [bytes]);
    const { memory } = machine.hypervisor.hardware;
    // Nothing of it is written but what the domain builder has: it only becomes the process's own.
    for (let at = memory.bytes.length - memory.ramBytes; at < memory.bytes.length; at += 4096) {
      memory.bytes[at] = memory.bytes[at] ?? 0;
    }
    const start = processorSeconds();
    const pages = machine.units.sharing.scan(bytes / 4096, 'zero');
    return { units: pages * 4096, seconds: processorSeconds() - start };
  },
};

/** A domain of 4 GiB in single pages, some of each large page swapped out. */
const p2mView: Benchmark = {
  name: 'P2M of 4 GiB',
  unit: 'views',
  required: { rate: 10 },
  here() {
    const memory = createMachineMemory(16 << 20);
    const p2m = createP2m(memory, createFrames(memory.ramBytes));
    for (let page = 0; page < 2 ** 20; page += 1) {
      if (page % 512 > 500) p2m.setPaged(page as Gfn, page);
      else p2m.set(page as Gfn, 'ram', (page ^ (page % 512 < 32 ? 3 : 0)) as Mfn);
    }
    const views = 5;
    const start = processorSeconds();
    for (let view = 0; view < views; view += 1) p2mRanges(p2m, new Map());
    return { units: views, seconds: processorSeconds() - start };
  },
};

export const memoryBenchmarks: readonly Benchmark[] = [unshare, balloon, scan, p2mView];
