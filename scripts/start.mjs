/**
 * npm start: installs what is missing, builds, and runs the first sample to its end: its console,
 * then its VM exits.
 */
import { join } from 'node:path';
import { buildWhenStale, exitCodeOf, installPackages, root } from './prepare.mjs';

installPackages();
buildWhenStale();
const program = join('samples', 'hello', 'main.asm');
const hyperstep = join(root, 'dist', 'hyperstep.mjs');
const command = ['run', program, '--include', join('samples', 'include')];
console.log(`hyperstep ${command.join(' ')}`);
process.exit(exitCodeOf(process.execPath, [hyperstep, ...command]));
