/** dataBreakpointInfo: memory can be watched, by address or where a value points to. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { evaluateIn } from '../console.ts';
import { ExpressionError } from '../expressions/parse.ts';
import { frameOf } from '../frames.ts';
import { parseReference, referenceOf } from '../memory-reference.ts';
import { defineRequest, type Session } from './request.ts';

type Info = DebugProtocol.DataBreakpointInfoResponse['body'];

const DEFAULT_BYTES = 8;

export const dataBreakpointInfo = defineRequest<DebugProtocol.DataBreakpointInfoArguments, Info>({
  command: 'dataBreakpointInfo',
  capabilities: { supportsDataBreakpoints: true, supportsDataBreakpointBytes: true },
  handle(session, args) {
    const reference = referenceFor(session, args);
    if (reference === undefined) {
      return { dataId: null, description: `'${args.name}' is no memory; watch an address.` };
    }
    const bytes = args.bytes ?? DEFAULT_BYTES;
    return {
      dataId: `${reference}+${bytes}`,
      description: describe(reference, bytes, pointerOf(args)),
      accessTypes: ['read', 'write', 'readWrite'],
      canPersist: true,
    };
  },
});

/** A register's memory is where it points to. */
const pointerOf = ({
  name,
  variablesReference,
}: DebugProtocol.DataBreakpointInfoArguments): string =>
  variablesReference === undefined ? '' : `[${name}] `;

/** The address first: lists of breakpoints are narrow. */
const describe = (reference: string, bytes: number, name: string): string => {
  const [address = '', ...space] = reference.split(':').reverse();
  return `${name}${address}, ${bytes} byte${bytes === 1 ? '' : 's'} (${space.reverse().join(' ')})`;
};

const referenceFor = (
  { debuggee, variables }: Session,
  { name, variablesReference, frameId }: DebugProtocol.DataBreakpointInfoArguments,
): string | undefined => {
  const { current } = debuggee.machine;
  if (variablesReference !== undefined) {
    const row = variables
      .find(variablesReference)
      ?.rows()
      .find((one) => one.name === name);
    return row?.memoryReference;
  }
  const place = parseReference(name, current);
  if (place !== undefined) return referenceOf(place);
  try {
    const text = /^\s*(?:(?:byte|word|dword|qword)\s*)?\[(.*)\]\s*$/i.exec(name)?.[1] ?? name;
    const address = evaluateIn(debuggee, frameOf(debuggee, frameId), text);
    if (typeof address === 'string') return undefined;
    return referenceOf({ space: { kind: 'gva', ...current }, address });
  } catch (error) {
    if (error instanceof ExpressionError) return undefined;
    throw error;
  }
};
