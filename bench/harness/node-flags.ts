/** The flags that `npm start`, the command line and the image run with: all parts of a bench do, baselines as well. */
export const NODE_FLAGS = ['--min-semi-space-size=64', '--max-semi-space-size=64'];
