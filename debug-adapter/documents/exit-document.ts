/**
 * The page of a VM exit, `hyperstep-exit:/d1.v0/10-CPUID.vmexit`: what happened in words, and the
 * hypervisor's steps, of which the marked one comes next.
 */
import type { ExitInProgress } from '../../emulator/index.ts';
import { hex } from '../numbers.ts';
import { vcpuName } from '../threads.ts';

export interface ExitDocument {
  readonly text: string;
  /** The line, from 1, of the step that comes next. */
  readonly line: number;
}

export const exitUri = ({ domain, vcpu, number, reason }: ExitInProgress): string =>
  `hyperstep-exit:/${vcpuName(domain, vcpu)}/${number}-${reason.replace(/[^A-Za-z0-9_]/g, '')}.vmexit`;

export const writeExit = (exit: ExitInProgress): ExitDocument => {
  const { event } = exit;
  const lines = [
    exit.title,
    `${vcpuName(exit.domain, exit.vcpu)} at RIP ${hex(event.rip)}, after ${event.retired} instructions`,
    '',
    'What happened',
    ...exit.explanation.map((line) => `    ${line}`),
    '',
    'What the hypervisor does',
  ];
  const first = lines.length + 1;
  for (const [index, { title, detail, done }] of exit.steps.entries()) {
    const mark = done ? '✓' : index === exit.next ? '→' : ' ';
    lines.push(`  ${mark} ${index + 1}. ${title}${detail === '' ? '' : `: ${detail}`}`);
  }
  lines.push(
    '',
    'Step Into takes one step; Step Over and Step Out finish the exit and return to the guest.',
  );
  return { text: `${lines.join('\n')}\n`, line: first + exit.next };
};
