/**
 * The colors of the editor's theme, from the variables that VS Code gives to webviews.
 */
import { mix, parseColor, type Rgb, type Theme } from './colors.ts';

const GREY: Rgb = [128, 128, 128];

export const readTheme = (): Theme => {
  const style = getComputedStyle(document.body);
  const color = (name: string, fallback: Rgb): Rgb =>
    parseColor(style.getPropertyValue(`--vscode-${name}`)) ?? fallback;
  const blue = color('charts-blue', [50, 120, 220]);
  const green = color('charts-green', [60, 160, 70]);
  const foreground = color('editor-foreground', GREY);
  return {
    background: color('editor-background', [255, 255, 255]),
    foreground,
    dom0: color('charts-yellow', [200, 160, 0]),
    // Themes' orange is too near to their yellow.
    domains: [blue, green, color('charts-red', [210, 60, 60]), mix(blue, green, 0.5)],
    shared: color('charts-purple', [150, 80, 200]),
    cursor: color('focusBorder', foreground),
    isHighContrast:
      document.body.classList.contains('vscode-high-contrast') ||
      document.body.classList.contains('vscode-high-contrast-light'),
  };
};
