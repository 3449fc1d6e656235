/** readMemory: bytes of any address space; a hole ends the answer. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { toBase64 } from '../../emulator/index.ts';
import { parseReference } from '../memory-reference.ts';
import { hex } from '../numbers.ts';
import { defineRequest, RequestError } from './request.ts';

const COUNT_LIMIT = 1 << 24;

export const readMemory = defineRequest<
  DebugProtocol.ReadMemoryArguments,
  DebugProtocol.ReadMemoryResponse['body']
>({
  command: 'readMemory',
  capabilities: { supportsReadMemoryRequest: true },
  handle({ debuggee, told }, { memoryReference, offset = 0, count }) {
    const place = parseReference(memoryReference, debuggee.machine.current);
    if (place === undefined) throw new RequestError(`'${memoryReference}' is no memory.`);
    told.memory.add(memoryReference);
    const address = BigInt.asUintN(64, place.address + BigInt(offset));
    const length = Math.max(0, Math.min(count, COUNT_LIMIT));
    const { bytes, holes } = debuggee.machine.peekMemory(place.space, address, length);
    const readable = holes[0]?.offset ?? length;
    return {
      address: hex(address),
      data: toBase64(bytes.subarray(0, readable)),
      ...(readable < length ? { unreadableBytes: holes[0]?.lengthBytes ?? 0 } : {}),
    };
  },
});
