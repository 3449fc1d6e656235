/**
 * Every replacement policy.
 */
import type { ReplacementName } from '../../../machine.ts';
import { clock } from './clock.ts';
import { lru } from './lru.ts';
import { random } from './random.ts';
import type { ReplacementPolicy } from './replacement.ts';

export const REPLACEMENTS: Readonly<Record<ReplacementName, ReplacementPolicy>> = {
  random,
  lru,
  clock,
};
