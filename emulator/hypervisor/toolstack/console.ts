/**
 * The console of a domain, as far as one line can be it: what is typed, or what was printed last.
 */
import { done, failed, forDomain } from './verb.ts';

const LAST_LINES = 24;

/** Types the text and Enter. */
export const console = forDomain(
  'console <domain> [text]',
  "Type a line on a domain's console; without a text, show its last lines",
  (hypervisor, domain, _args, rest) => {
    if (rest === '') {
      return done(
        domain.consoleText
          .split(/(?<=\n)/)
          .slice(-LAST_LINES)
          .join(''),
      );
    }
    const isTyped = hypervisor.dom0?.type(domain, new TextEncoder().encode(`${rest}\r`));
    return isTyped === true ? done() : failed(`domain ${domain.id} has no console to type on`);
  },
);
