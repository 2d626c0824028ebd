import fc from 'fast-check';
import { SEED } from './seed.js';

// Runs before each suite. A law that fails says the seed and the path to its counterexample.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: SEED });
