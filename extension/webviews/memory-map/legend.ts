/**
 * What the colors and patterns mean: the states there are, by owner. One that is pressed is
 * emphasized in the picture.
 */
import type { MachineFrameState } from '../../../debug-adapter/protocol.ts';
import type { Theme } from './colors.ts';
import { paintState } from './paint.ts';

const SWATCH = 16;

export interface Legend {
  show(states: readonly MachineFrameState[], theme: Theme): void;
}

export const createLegend = (
  into: HTMLElement,
  emphasize: (key: string | undefined) => void,
): Legend => {
  let pressed: string | undefined;
  const press = (key: string): void => {
    pressed = pressed === key ? undefined : key;
    for (const button of into.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', `${button.dataset.key === pressed}`);
    }
    emphasize(pressed);
  };
  const entry = (state: MachineFrameState, theme: Theme): HTMLElement => {
    const key = `${state.kind} ${state.domain ?? ''}`;
    const button = document.createElement('button');
    button.dataset.key = key;
    button.title = state.description;
    button.setAttribute('aria-pressed', `${key === pressed}`);
    button.addEventListener('click', () => press(key));
    const label = document.createElement('span');
    label.textContent = state.label;
    const count = document.createElement('span');
    count.className = 'count';
    count.textContent = state.count.toLocaleString('en');
    button.append(swatchOf(state, theme), label, count);
    const item = document.createElement('li');
    item.append(button);
    return item;
  };
  return {
    show(states, theme) {
      const focused = (document.activeElement as HTMLElement | null)?.dataset.key;
      into.replaceChildren(
        ...byOwner(states).map(([owner, own]) => {
          const group = document.createElement('section');
          const heading = document.createElement('h3');
          heading.textContent = owner;
          const list = document.createElement('ul');
          list.append(...own.map((state) => entry(state, theme)));
          group.append(heading, list);
          return group;
        }),
      );
      if (focused === undefined) return;
      into.querySelector<HTMLElement>(`button[data-key="${CSS.escape(focused)}"]`)?.focus();
    },
  };
};

/** Domains in their order, then the others; in each the most frequent first. */
export const byOwner = (
  states: readonly MachineFrameState[],
): readonly (readonly [owner: string, states: readonly MachineFrameState[]])[] => {
  const last = Number.POSITIVE_INFINITY;
  const sorted = [...states].sort(
    (a, b) => (a.domain ?? last) - (b.domain ?? last) || b.count - a.count,
  );
  const groups = new Map<string, MachineFrameState[]>();
  for (const state of sorted) groups.set(state.owner, [...(groups.get(state.owner) ?? []), state]);
  return [...groups];
};

const swatchOf = (state: MachineFrameState, theme: Theme): HTMLCanvasElement => {
  const canvas = document.createElement('canvas');
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(SWATCH * ratio);
  canvas.height = Math.round(SWATCH * ratio);
  canvas.setAttribute('aria-hidden', 'true');
  const pen = canvas.getContext('2d');
  if (pen !== null) {
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintState(pen, state, theme, 0, 0, SWATCH);
  }
  return canvas;
};
