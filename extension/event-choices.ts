/**
 * What a user has chosen of the events, as it is kept with the workspace.
 */
import type { EventBreakpointRequest } from '../debug-adapter/protocol.ts';

export interface EventChoice {
  readonly name: string;
  readonly isEnabled: boolean;
  readonly condition?: string;
  readonly hitCondition?: string;
  readonly logMessage?: string;
}

const isGiven = (text: string | undefined): text is string =>
  text !== undefined && text.trim() !== '';

/** The ticked events as the debug adapter takes them. */
export const requestsOf = (choices: readonly EventChoice[]): EventBreakpointRequest[] =>
  choices
    .filter(({ isEnabled }) => isEnabled)
    .map(({ name, condition, hitCondition, logMessage }) => ({
      name,
      ...(isGiven(condition) ? { condition } : {}),
      ...(isGiven(hitCondition) ? { hitCondition } : {}),
      ...(isGiven(logMessage) ? { logMessage } : {}),
    }));

/** 'if exit.leaf == 1, hits % 10, logs leaf {eax}'; undefined if nothing is special. */
export const describeChoice = (choice: EventChoice | undefined): string | undefined => {
  const words = [
    isGiven(choice?.condition) ? `if ${choice.condition}` : '',
    isGiven(choice?.hitCondition) ? `hits ${choice.hitCondition}` : '',
    isGiven(choice?.logMessage) ? `logs ${choice.logMessage}` : '',
  ].filter((word) => word !== '');
  return words.length === 0 ? undefined : words.join(', ');
};
