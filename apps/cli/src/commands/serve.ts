import { once } from 'node:events';
import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { startLocalServer } from '../local-server.js';
import { wholeNumber } from '../options.js';

interface ServeOptions {
  readonly port?: number;
  readonly host?: string;
  readonly data?: string;
}

export function registerServe(program: Command, shell: Shell): void {
  program
    .command('serve')
    .summary('run the server')
    .description(
      'Run the server with all its parts in this process. When it is ready, its address is the one line on stdout. ' +
        'Ctrl+C ends it in order; a second one at once. Settings also come from CLAWBACK_* variables.',
    )
    .option(
      '--port <n>',
      'the port (default: CLAWBACK_PORT or 8080); 0 takes a free one',
      wholeNumber(0, 65_535),
    )
    .option('--host <host>', 'the address to listen on (default: CLAWBACK_HOST or 127.0.0.1)')
    .option('--data <directory>', 'the data directory (default: CLAWBACK_DATA or .clawback)')
    .addHelpText('after', '\nExample:\n  clawback serve --port 8080 --data /var/lib/clawback')
    .action(
      action<ServeOptions>(shell, async ({ out, io }, { port, host, data }) => {
        const server = await startLocalServer(io.env, {
          http: { port, host },
          data: { directory: data },
        });
        try {
          out.result({ url: server.url }, server.url);
          out.note(`data in ${server.dataDirectory}; API documentation at ${server.url}/docs`);
          if (!io.signal.aborted) await once(io.signal, 'abort');
          out.note('closing');
        } finally {
          await server.close();
        }
        return ExitCode.ok;
      }),
    );
}
