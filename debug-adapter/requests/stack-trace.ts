/** stackTrace: a VM exit that is being handled, then the guest's frames. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { describeFrame, framesKey, framesOf } from '../frames.ts';
import { defineRequest } from './request.ts';

export const stackTrace = defineRequest<
  DebugProtocol.StackTraceArguments,
  DebugProtocol.StackTraceResponse['body']
>({
  command: 'stackTrace',
  handle({ debuggee, told }, { threadId, startFrame = 0, levels }) {
    const frames = framesOf(debuggee, debuggee.vcpuOf(threadId));
    told.frames.set(threadId, framesKey(frames));
    const end = levels === undefined || levels === 0 ? frames.length : startFrame + levels;
    return {
      stackFrames: frames
        .slice(startFrame, end)
        .map((frame, index) => describeFrame(debuggee, frame, startFrame + index)),
      totalFrames: frames.length,
    };
  },
});
