/**
 * launch: assembles, builds the domains, and waits for the client's breakpoints.
 */
import { InitializedEvent } from '@vscode/debugadapter';
import type { LaunchArguments } from '../protocol.ts';
import { defineRequest, RequestError } from './request.ts';

/** Checks what comes from a launch.json; throws RequestError with the name of the wrong member. */
export const checkLaunch = (args: unknown): LaunchArguments => {
  const launch = args as Partial<Record<keyof LaunchArguments, unknown>>;
  const { program, include } = launch;
  if (typeof program !== 'string' || program === '') {
    throw new RequestError('"program" is missing: the path of a guest program or a scenario.');
  }
  for (const name of ['memory', 'vcpus'] as const) {
    const value = launch[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && Number(value) > 0)) {
      throw new RequestError(
        `"${name}" is ${JSON.stringify(value)}; a whole number above 0 was expected.`,
      );
    }
  }
  if (launch.hap !== undefined && typeof launch.hap !== 'boolean') {
    throw new RequestError(`"hap" is ${JSON.stringify(launch.hap)}; true or false was expected.`);
  }
  if (launch.cmdline !== undefined && typeof launch.cmdline !== 'string') {
    throw new RequestError('"cmdline" is not a text.');
  }
  if (
    include !== undefined &&
    !(Array.isArray(include) && include.every((one) => typeof one === 'string'))
  ) {
    throw new RequestError('"include" is not a list of folders.');
  }
  const { engine, domainType } = launch;
  if (domainType !== undefined && domainType !== 'pv' && domainType !== 'pvh') {
    throw new RequestError(
      `"domainType" is ${JSON.stringify(domainType)}; "pv" or "pvh" was expected.`,
    );
  }
  if (engine !== undefined && engine !== 'interpreter' && engine !== 'reference') {
    throw new RequestError(
      `"engine" is ${JSON.stringify(engine)}; "interpreter" or "reference" was expected.`,
    );
  }
  return args as LaunchArguments;
};

export const launch = defineRequest<unknown>({
  command: 'launch',
  async handle(session, args) {
    await session.launch(checkLaunch(args));
  },
  afterwards: (session) => session.sendEvent(new InitializedEvent()),
});
