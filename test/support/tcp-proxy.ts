import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Stands between a client and a server, and can stop forwarding without closing anything, as a bad network does. */
export interface TcpProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** From now on nothing is forwarded, of old connections and of new ones. */
  hang(): void;
  goOn(): void;
  /** Ends every connection at once, as the death of a process with unread data does. */
  reset(): void;
  /** The same of a process that had read everything; the oldest connection first. */
  end(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(target: {
  readonly host: string;
  readonly port: number;
}): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let hanging = false;
  const forward = (from: Socket, to: Socket): void => {
    sockets.add(from);
    from.on('data', (bytes) => to.write(bytes));
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
    // An error is followed by the close.
    from.on('error', () => undefined);
    if (hanging) from.pause();
  };
  const end = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    const upstream = connect(target);
    forward(client, upstream);
    forward(upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    hang() {
      hanging = true;
      for (const socket of sockets) socket.pause();
    },
    goOn() {
      hanging = false;
      for (const socket of sockets) socket.resume();
    },
    reset() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    end,
    async close() {
      end();
      server.close();
      await once(server, 'close');
    },
  };
}
