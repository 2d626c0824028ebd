import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: ['dist/', 'node_modules/', 'coverage/', 'test/arch/fixtures/', '**/*.mjs', '**/*.cjs', '.tmp/'],
  },
  eslint.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // Nest modules and ports used as injection tokens are classes without members by design.
      '@typescript-eslint/no-extraneous-class': 'off',
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  // Bodies and options are classes only for their decorators: they have no methods that a literal could lack.
  {
    files: ['apps/server/src/**/*.ts', 'bench/harness/constant*.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      'no-restricted-imports': [
        'error',
        {
          paths: [
            {
              name: 'class-validator',
              importNames: ['IsOptional'],
              message: 'It lets null pass, which no handler expects: Optional of http/fields does not.',
            },
          ],
        },
      ],
    },
  },
  // Nest reads constructor types at run time: a type-only import of an injected class would erase its token.
  {
    files: ['**/*.{handler,controller,service,module}.ts'],
    rules: { '@typescript-eslint/consistent-type-imports': 'off' },
  },
);
