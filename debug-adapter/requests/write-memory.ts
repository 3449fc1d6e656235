/** writeMemory: the debugger's write, which asks no permission of the guest's tables. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { fromBase64 } from '../../emulator/index.ts';
import { parseReference } from '../memory-reference.ts';
import { defineRequest, RequestError } from './request.ts';

export const writeMemory = defineRequest<
  DebugProtocol.WriteMemoryArguments,
  DebugProtocol.WriteMemoryResponse['body']
>({
  command: 'writeMemory',
  capabilities: { supportsWriteMemoryRequest: true },
  handle(session, { memoryReference, offset = 0, data }) {
    if (session.isRunning) throw new RequestError('The machine runs; pause it first.');
    const { machine } = session.debuggee;
    const place = parseReference(memoryReference, machine.current);
    if (place === undefined) throw new RequestError(`'${memoryReference}' is no memory.`);
    const bytes = fromBase64(data);
    const address = BigInt.asUintN(64, place.address + BigInt(offset));
    const problem = machine.pokeMemory(place.space, address, bytes);
    if (problem !== undefined) throw new RequestError(problem);
    return { bytesWritten: bytes.length };
  },
  afterwards: (session) => session.touched(),
});
