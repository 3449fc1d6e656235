/**
 * Requests to the guest, which it finds in control/shutdown and takes by clearing it.
 * Source: Xen docs/misc/xenstore-paths.pandoc, ~/control/shutdown.
 */
import { isRunning } from '../domain.ts';
import { writeNode } from '../xenstore/nodes.ts';
import { domainPath } from '../xenstore/paths.ts';
import { done, failed, forGuest, type Verb } from './verb.ts';

const ask = (verb: string, title: string, request: 'poweroff' | 'reboot', words: string): Verb =>
  forGuest(`${verb} <domain>`, title, (hypervisor, domain) => {
    if (!isRunning(domain)) return failed(`domain ${domain.id} is ${domain.state}`);
    hypervisor.dom0?.xenstore.asTools((client) =>
      writeNode(client, `${domainPath(domain.id)}/control/shutdown`, request),
    );
    hypervisor.dom0?.deliver();
    return done(`${words} domain ${domain.id}\n`);
  });

export const shutdown = ask('shutdown', 'Ask a domain to shut down', 'poweroff', 'Shutting down');
export const reboot = ask('reboot', 'Ask a domain to reboot', 'reboot', 'Rebooting');
