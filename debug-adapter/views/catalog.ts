/**
 * Every view, in the order of the sidebar.
 */
import { domains } from './domains.ts';
import { memory } from './memory.ts';
import { p2m } from './p2m.ts';
import { pageWalk } from './page-walk.ts';
import { vcpus } from './vcpus.ts';
import type { View } from './view.ts';
import { xenstore } from './xenstore.ts';

export const VIEWS: readonly View[] = [domains, vcpus, p2m, pageWalk, memory, xenstore];
