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
    // No test measures time; machines may be slow.
    testTimeout: 600_000,
  },
});
