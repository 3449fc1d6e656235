/** threads: the vCPUs of all domains. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { threadIdOf, vcpuName } from '../threads.ts';
import { defineRequest } from './request.ts';

export const threads = defineRequest<unknown, DebugProtocol.ThreadsResponse['body']>({
  command: 'threads',
  handle: ({ debuggee }) => ({
    threads: debuggee.machine.domains.flatMap(({ id, name, vcpus }) =>
      vcpus.map((vcpu) => ({
        id: threadIdOf(id, vcpu.id),
        name: `${vcpuName(id, vcpu.id)} ${name} ${vcpu.mode}`,
      })),
    ),
  }),
});
