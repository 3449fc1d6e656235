import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: [
      '**/node_modules/**',
      '.cache/**',
      'dist/**',
      'tests/workbench/**',
      'tests/oracles/**',
    ],
    testTimeout: 60_000,
  },
});
