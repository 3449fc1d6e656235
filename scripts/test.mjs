/**
 * npm test: installs what is missing, builds, and runs the tests. Arguments go to vitest.
 * The last line is `N passed, N failed`.
 */

import { buildWhenStale, installPackages } from './prepare.mjs';
import { runVitest } from './vitest.mjs';

installPackages();
buildWhenStale();
process.exit(runVitest('unit', process.argv.slice(2)));
