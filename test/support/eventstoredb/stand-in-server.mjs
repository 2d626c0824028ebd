/**
 * EventStoreDB stand-in: test code, never a product. A process that speaks EventStoreDB's gRPC protocol well enough for
 * `@eventstore/db-client` 6.2.1, where no real server can be had.
 *
 * True to what was recorded on a real EventStoreDB 23.10.6:
 * - Append (a call of its own) and BatchAppend (the shared call): answers, conflicts, repeats of the same (ids, expected
 *   revision), the second writing at a newer revision, the limit of 1 MiB, soft deletion and tombstones;
 * - Read of streams and of `$all`, both ways, from any place; missing streams; system events at the start of `$all`;
 *   positions that grow like byte offsets, commit equal to prepare;
 * - catch-up subscriptions: confirmation, old events, caughtUp, live events, filters by name or type, checkpoints;
 * - persistent subscriptions to `$all`: create, delete, read, ack, nack (retry, park), time-outs, retry counts, round
 *   robin, checkpoints, getInfo; errors as recorded;
 * - an append is on the disk before it is answered; a killed process leaves its callers with code 14.
 *
 * Left out: links and their resolution, `fellBehind`, $maxAge and $maxCount, scavenging, access control beyond one
 * user, clusters of more than one node, projections, consumer strategies other than round robin, persistent
 * subscriptions to one stream, update, list and replayParked, "Server Is Not Ready" while starting, and any likeness
 * in speed.
 *
 *     node stand-in-server.mjs --data-file FILE [--port N] [--credentials USER:PASSWORD] [--tls-cert PEM --tls-key PEM]
 *
 * Tells its port on stdout, and by message to a parent that has forked it. Such a parent may also send the controls
 * named below.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';
import features from '@eventstore/db-client/generated/serverfeatures_pb.js';
import featuresService from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js';
import gossip from '@eventstore/db-client/generated/gossip_pb.js';
import gossipService from '@eventstore/db-client/generated/gossip_grpc_pb.js';
import streamsService from '@eventstore/db-client/generated/streams_grpc_pb.js';
import groupsService from '@eventstore/db-client/generated/persistent_grpc_pb.js';
import { StandInLog } from './stand-in-log.mjs';
import { endWith, failure, uuid } from './stand-in-protocol.mjs';
import { StreamsService } from './stand-in-streams.mjs';
import { GroupsService } from './stand-in-groups.mjs';

const MAX_MESSAGE_BYTES = 20 * 1024 * 1024;
const HOST = '127.0.0.1';

const { values: args } = parseArgs({
  options: {
    'data-file': { type: 'string' },
    port: { type: 'string', default: '0' },
    credentials: { type: 'string' },
    'tls-cert': { type: 'string' },
    'tls-key': { type: 'string' },
  },
});

const log = await StandInLog.open(args['data-file']);
const streams = new StreamsService(log);
const groups = new GroupsService(log);
let port = 0;

const server = new grpc.Server({
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': -1,
});
server.addService(featuresService.ServerFeaturesService, { getSupportedMethods });
server.addService(gossipService.GossipService, { read: readGossip });
server.addService(streamsService.StreamsService, admitted(streams.methods));
server.addService(groupsService.PersistentSubscriptionsService, admitted(groups.methods));

server.bindAsync(`${HOST}:${args.port}`, credentials(), (error, bound) => {
  if (error) throw error;
  port = bound;
  process.stdout.write(`EventStoreDB stand-in on port ${bound}\n`);
  process.send?.({ listening: bound });
});

const controls = {
  dropConsumers() {
    groups.dropConsumers();
    streams.dropSubscriptions();
  },
  forgetConsumers: () => groups.forgetConsumers(),
  mute: () => streams.muteSubscriptions(),
  loseAnswers: (count) => streams.loseAnswers(count),
};

process.on('message', ({ control, argument }) => {
  controls[control](argument);
  process.send({ done: control });
});
process.on('disconnect', () => process.exit());
process.on('SIGTERM', () => process.exit());

function credentials() {
  if (args['tls-cert'] === undefined) return grpc.ServerCredentials.createInsecure();
  const pair = { cert_chain: readFileSync(args['tls-cert']), private_key: readFileSync(args['tls-key']) };
  return grpc.ServerCredentials.createSsl(null, [pair]);
}

/** With credentials demanded, every call without them is refused as a real server refuses it. */
function admitted(methods) {
  if (args.credentials === undefined) return methods;
  const wanted = `Basic ${Buffer.from(args.credentials).toString('base64')}`;
  const refusal = failure(grpc.status.UNAUTHENTICATED, 'Access Denied', { exception: 'access-denied' });
  return Object.fromEntries(
    Object.entries(methods).map(([name, method]) => [
      name,
      (call, callback) => {
        if (call.metadata.get('authorization')[0] === wanted) method(call, callback);
        else if (callback !== undefined) callback(refusal);
        else endWith(call, refusal);
      },
    ]),
  );
}

function getSupportedMethods(_call, callback) {
  const supported = (service, names, ...known) =>
    names.map((name) =>
      new features.SupportedMethod()
        .setServiceName(service.toLowerCase())
        .setMethodName(name.toLowerCase())
        .setFeaturesList(known),
    );
  callback(
    null,
    new features.SupportedMethods()
      .setEventStoreServerVersion('23.10.6')
      .setMethodsList([
        ...supported('event_store.client.streams.Streams', [
          'Append',
          'BatchAppend',
          'Read',
          'Delete',
          'Tombstone',
        ]),
        ...supported(
          'event_store.client.persistent_subscriptions.PersistentSubscriptions',
          ['Create', 'Delete', 'Read', 'GetInfo'],
          'stream',
          'all',
        ),
      ]),
  );
}

/** A cluster of one, for connection strings that discover or name several nodes. */
function readGossip(_call, callback) {
  const member = new gossip.MemberInfo()
    .setInstanceId(uuid('00000000-0000-4000-8000-000000000001'))
    .setTimeStamp(String(Date.now() * 10_000))
    .setState(gossip.MemberInfo.VNodeState.LEADER)
    .setIsAlive(true)
    .setHttpEndPoint(new gossip.EndPoint().setAddress(HOST).setPort(port));
  callback(null, new gossip.ClusterInfo().setMembersList([member]));
}
