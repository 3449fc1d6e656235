/** Every feature that answers requests; diagnostics are sent by the server itself. */
import type { Feature } from '../feature.ts';
import { completion } from './completion.ts';
import { definition } from './definition.ts';
import { documentLinks } from './document-links.ts';
import { documentSymbols } from './document-symbols.ts';
import { hover } from './hover.ts';
import { references } from './references.ts';

export const FEATURES: readonly Feature[] = [
  completion,
  definition,
  documentLinks,
  documentSymbols,
  hover,
  references,
];
