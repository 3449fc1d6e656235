/**
 * All breakpoints of a session: whatever carrier they came on, they end in the machine's one table.
 * The client replaces a carrier's breakpoints as a whole; those that stay keep their hit counts.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';
import type { BreakpointHit, BreakpointOptions, Machine } from '../../emulator/index.ts';
import { evaluateExpression, isTrue } from '../expressions/evaluate.ts';
import { createMachineScope } from '../expressions/machine-scope.ts';
import { ExpressionError, parseExpression } from '../expressions/parse.ts';
import { fillTemplate, parseTemplate } from '../expressions/template.ts';
import { present } from '../present.ts';
import { parseHitCondition } from './hit-condition.ts';
import type { BreakpointRequest, BreakpointTarget, BreakpointTerms, Carrier } from './request.ts';

export interface BreakpointSet {
  /** Replaces the breakpoints of one carrier; `group` tells the file of source breakpoints. */
  replace(
    carrier: Carrier,
    group: string,
    requests: readonly BreakpointRequest[],
  ): DebugProtocol.Breakpoint[];
  /** Sets all again on a new machine; gives what the client should know of each. */
  bind(machine: Machine | undefined): DebugProtocol.Breakpoint[];
  /** The client's ids for ids of the machine's table, and the carrier of the first. */
  hit(ids: readonly number[]): { readonly ids: readonly number[]; readonly carrier: Carrier };
}

interface Entry {
  readonly id: number;
  readonly carrier: Carrier;
  readonly group: string;
  readonly request: BreakpointRequest;
  shown: DebugProtocol.Breakpoint;
  tableIds: readonly number[];
}

/** `say` gets log messages and complaints of breakpoints, a line each. */
export const createBreakpointSet = (
  say: (line: string, hit: BreakpointHit) => void,
): BreakpointSet => {
  let entries: Entry[] = [];
  let machine: Machine | undefined;
  let nextId = 1;

  const place = (entry: Entry): void => {
    if (machine === undefined) {
      entry.shown = { id: entry.id, verified: false, message: 'Set when the machine starts.' };
      return;
    }
    const { breakpoints } = machine;
    const options = optionsOf(entry.request, say);
    const target: BreakpointTarget =
      typeof options === 'string' ? { places: [], problem: options } : entry.request.target();
    const set = target.places.map((one) =>
      breakpoints.add(one, typeof options === 'string' ? {} : options),
    );
    entry.tableIds = set.map(({ id }) => id);
    const problem = target.problem ?? set.find((one) => one.problem !== undefined)?.problem;
    entry.shown = present({
      id: entry.id,
      verified: problem === undefined && set.length > 0,
      message: problem,
      source: target.source,
      line: target.line,
      column: target.column,
      instructionReference: target.instructionReference,
    });
  };
  const release = ({ tableIds }: Entry): void => {
    for (const id of tableIds) machine?.breakpoints.remove(id);
  };
  return {
    replace(carrier, group, requests) {
      const isOwn = (entry: Entry): boolean => entry.carrier === carrier && entry.group === group;
      const old = entries.filter(isOwn);
      const kept = new Set<Entry>();
      const next = requests.map((request): Entry => {
        const same = old.find((entry) => entry.request.key === request.key && !kept.has(entry));
        if (same !== undefined) {
          kept.add(same);
          return same;
        }
        const shown = { verified: false };
        const entry: Entry = { id: nextId, carrier, group, request, shown, tableIds: [] };
        nextId += 1;
        place(entry);
        return entry;
      });
      for (const entry of old) if (!kept.has(entry)) release(entry);
      entries = [...entries.filter((entry) => !isOwn(entry)), ...next];
      return next.map(({ shown }) => shown);
    },
    bind(next) {
      machine = next;
      for (const entry of entries) {
        entry.tableIds = [];
        place(entry);
      }
      return entries.map(({ shown }) => shown);
    },
    hit(ids) {
      const hit = entries.filter(({ tableIds }) => tableIds.some((id) => ids.includes(id)));
      return { ids: hit.map(({ id }) => id), carrier: hit[0]?.carrier ?? 'breakpoint' };
    },
  };
};

/** The terms as the table wants them; a sentence if one of them is wrong. */
const optionsOf = (
  { condition, hitCondition, logMessage }: BreakpointTerms,
  say: (line: string, hit: BreakpointHit) => void,
): BreakpointOptions | string => {
  try {
    const hits = isBlank(hitCondition) ? undefined : parseHitCondition(hitCondition);
    if (typeof hits === 'string') return hits;
    return present({
      condition: isBlank(condition) ? undefined : conditionOf(condition, say),
      hitCondition: hits,
      log: isBlank(logMessage) ? undefined : logOf(logMessage, say),
    });
  } catch (error) {
    if (error instanceof ExpressionError)
      return `In '${condition ?? logMessage}': ${error.message}.`;
    throw error;
  }
};

const isBlank = (text: string | undefined): text is undefined | '' =>
  text === undefined || text.trim() === '';

const scopeOf = ({ machine, domain, vcpu, event }: BreakpointHit) =>
  createMachineScope(machine, present({ domain, vcpu, event }));

const conditionOf = (text: string, say: (line: string, hit: BreakpointHit) => void) => {
  const expression = parseExpression(text);
  return (hit: BreakpointHit): boolean => {
    try {
      return isTrue(evaluateExpression(expression, scopeOf(hit)));
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      say(`The condition '${text}' cannot be evaluated, hence the stop: ${error.message}.`, hit);
      return true;
    }
  };
};

const logOf = (text: string, say: (line: string, hit: BreakpointHit) => void) => {
  const template = parseTemplate(text);
  return (hit: BreakpointHit): void => say(fillTemplate(template, scopeOf(hit)), hit);
};
