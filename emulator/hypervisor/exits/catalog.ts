/**
 * What is done at each VM exit, by basic exit reason.
 */
import { cpuid } from './cpuid.ts';
import { crAccess } from './cr-access.ts';
import { eptMisconfiguration, invalidGuestState, tripleFault } from './crashes.ts';
import { eptViolation } from './ept-violation.ts';
import type { ExitHandler } from './exit.ts';
import { hlt } from './hlt.ts';
import { io } from './io.ts';
import { rdmsr, wrmsr } from './msr.ts';
import { exception, interruptWindow, invd, invlpg, notOffered, wbinvd } from './small-exits.ts';
import { vmcall } from './vmcall.ts';

export const EXIT_HANDLERS: readonly ExitHandler[] = [
  exception,
  tripleFault,
  interruptWindow,
  cpuid,
  hlt,
  invd,
  invlpg,
  vmcall,
  crAccess,
  io,
  rdmsr,
  wrmsr,
  invalidGuestState,
  eptViolation,
  eptMisconfiguration,
  wbinvd,
  ...notOffered,
];

const byNumber: (ExitHandler | undefined)[] = [];
for (const handler of EXIT_HANDLERS) byNumber[handler.number] = handler;

export const findExitHandler = (number: number): ExitHandler | undefined => byNumber[number];
