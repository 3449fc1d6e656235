/**
 * Every request that is answered.
 */
import { breakpointLocations } from './breakpoint-locations.ts';
import { completions } from './completions.ts';
import { configurationDone } from './configuration-done.ts';
import { resume } from './continue.ts';
import { dataBreakpointInfo } from './data-breakpoint-info.ts';
import { disassemble } from './disassemble.ts';
import { disconnect } from './disconnect.ts';
import { document } from './document.ts';
import { evaluate } from './evaluate.ts';
import { eventCatalog } from './event-catalog.ts';
import { exceptionInfo } from './exception-info.ts';
import { goTo } from './goto.ts';
import { gotoTargets } from './goto-targets.ts';
import { initialize } from './initialize.ts';
import { launch } from './launch.ts';
import { loadedSources } from './loaded-sources.ts';
import { machineFrame } from './machine-frame.ts';
import { memoryMap } from './memory-map.ts';
import { next } from './next.ts';
import { pause } from './pause.ts';
import { readMemory } from './read-memory.ts';
import type { Request } from './request.ts';
import { restart } from './restart.ts';
import { rows } from './rows.ts';
import { scopes } from './scopes.ts';
import { setBreakpoints } from './set-breakpoints.ts';
import { setDataBreakpoints } from './set-data-breakpoints.ts';
import { setEventBreakpoints } from './set-event-breakpoints.ts';
import { setExceptionBreakpoints } from './set-exception-breakpoints.ts';
import { setExpression } from './set-expression.ts';
import { setFunctionBreakpoints } from './set-function-breakpoints.ts';
import { setInstructionBreakpoints } from './set-instruction-breakpoints.ts';
import { setVariable } from './set-variable.ts';
import { source } from './source.ts';
import { stackTrace } from './stack-trace.ts';
import { stepIn } from './step-in.ts';
import { stepInTargets } from './step-in-targets.ts';
import { stepOut } from './step-out.ts';
import { terminate } from './terminate.ts';
import { threads } from './threads.ts';
import { variables } from './variables.ts';
import { views } from './views.ts';
import { writeMemory } from './write-memory.ts';

export const REQUESTS: readonly Request[] = [
  breakpointLocations,
  completions,
  configurationDone,
  dataBreakpointInfo,
  disassemble,
  disconnect,
  document,
  evaluate,
  eventCatalog,
  exceptionInfo,
  goTo,
  gotoTargets,
  initialize,
  launch,
  loadedSources,
  machineFrame,
  memoryMap,
  next,
  pause,
  readMemory,
  restart,
  resume,
  rows,
  scopes,
  setBreakpoints,
  setDataBreakpoints,
  setEventBreakpoints,
  setExceptionBreakpoints,
  setExpression,
  setFunctionBreakpoints,
  setInstructionBreakpoints,
  setVariable,
  source,
  stackTrace,
  stepIn,
  stepInTargets,
  stepOut,
  terminate,
  threads,
  variables,
  views,
  writeMemory,
];

export const findRequest = (command: string): Request | undefined =>
  REQUESTS.find((request) => request.command === command);
