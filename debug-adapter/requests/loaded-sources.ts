/** loadedSources: the files whose code is in a domain. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { fileNameOf } from '../../assembler/index.ts';
import { defineRequest } from './request.ts';

export const loadedSources = defineRequest<unknown, DebugProtocol.LoadedSourcesResponse['body']>({
  command: 'loadedSources',
  capabilities: { supportsLoadedSourcesRequest: true },
  handle: ({ debuggee }) => ({
    sources: [...new Set(debuggee.guests.flatMap(({ sources }) => [...sources.files]))].map(
      (path) => ({ name: fileNameOf(path), path }),
    ),
  }),
});
