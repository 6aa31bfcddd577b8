// kafkajs, an independent client in JavaScript, against the broker in $KAFKA. Each result is one line of JSON.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import assert from "node:assert/strict";
import { CompressionTypes, Kafka, logLevel } from "kafkajs";
import { report } from "./report.mjs";

const fresh = (prefix) => `${prefix}-${randomUUID().slice(0, 8)}`;
const client = (more = {}) =>
  new Kafka({ clientId: "probe", brokers: [process.env.KAFKA], logLevel: logLevel.NOTHING, ...more });
const kafka = client();

async function waitFor(condition, what) {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    assert(Date.now() < deadline, `${what} did not come in 20 s`);
    await sleep(50);
  }
}

async function withAdmin(act) {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await act(admin);
  } finally {
    await admin.disconnect();
  }
}

async function create(partitions = 1) {
  const topic = fresh("kafkajs");
  const topics = [{ topic, numPartitions: partitions }];
  await withAdmin((admin) => admin.createTopics({ topics, waitForLeaders: true }));
  return topic;
}

async function send(topic, messages, more = {}) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  await producer.send({ topic, messages, acks: -1, ...more });
  await producer.disconnect();
}

/// A member of a group; what it read is in `messages`.
async function member(topic, groupId, more = {}) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 500, sessionTimeout: 6000, ...more });
  const messages = [];
  const state = { consumer, messages, share: 0 };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    state.share = (payload.memberAssignment[topic] ?? []).length;
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => void messages.push({ partition, ...message }),
  });
  return state;
}

async function values(topic, n) {
  const { consumer, messages } = await member(topic, fresh("group"));
  await waitFor(() => messages.length >= n, `${n} messages`);
  await consumer.disconnect();
  return messages.map((message) => message.value.toString());
}

const numbered = (n) => Array.from({ length: n }, (_, i) => ({ key: `k${i}`, value: `${i}` }));

const probes = {
  async the_cluster_is_described() {
    const { brokers, clusterId } = await withAdmin((admin) => admin.describeCluster());
    assert(clusterId);
    assert.equal(brokers.length, 1);
  },

  async topics_are_created_configured_grown_and_deleted() {
    const topic = await create(2);
    await withAdmin(async (admin) => {
      await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
      const metadata = await admin.fetchTopicMetadata({ topics: [topic] });
      assert.equal(metadata.topics[0].partitions.length, 5);
      const { resources } = await admin.describeConfigs({ resources: [{ type: 2, name: topic }] });
      const retention = resources[0].configEntries.find((entry) => entry.configName === "retention.ms");
      assert.equal(retention.configValue, "604800000");
      await admin.deleteTopics({ topics: [topic] });
      await waitFor(async () => !(await admin.listTopics()).includes(topic), "deletion");
    });
  },

  async keys_headers_and_tombstones_come_back() {
    const topic = await create();
    await send(topic, [{ key: "k", value: "v", headers: { h: "x" } }, { key: "gone", value: null }]);
    const { consumer, messages } = await member(topic, fresh("group"));
    await waitFor(() => messages.length === 2, "two messages");
    await consumer.disconnect();
    assert.equal(messages[0].headers.h.toString(), "x");
    assert.deepEqual([messages[1].key.toString(), messages[1].value], ["gone", null]);
  },

  async gzip_comes_back() {
    const topic = await create();
    await send(topic, numbered(500), { compression: CompressionTypes.GZIP });
    assert.deepEqual(await values(topic, 500), numbered(500).map((message) => message.value));
  },

  async a_group_goes_on_where_it_committed() {
    const [topic, group] = [await create(3), fresh("group")];
    await send(topic, numbered(100));
    const first = await member(topic, group);
    await waitFor(() => first.messages.length === 100, "100 messages");
    await first.consumer.disconnect();
    await send(topic, numbered(7));
    const second = await member(topic, group);
    await waitFor(() => second.messages.length >= 7, "7 messages");
    await second.consumer.disconnect();
    assert.equal(second.messages.length, 7);
  },

  async two_members_share() {
    const [topic, group] = [await create(6), fresh("group")];
    const members = [await member(topic, group), await member(topic, group)];
    await waitFor(() => members.every(({ share }) => share === 3), "three partitions each");
    await members[1].consumer.disconnect();
    await waitFor(() => members[0].share === 6, "six partitions again");
    await members[0].consumer.disconnect();
  },

  async offsets_are_listed_by_group_and_by_time() {
    const [topic, group] = [await create(), fresh("group")];
    await send(topic, numbered(10));
    await withAdmin(async (admin) => {
      assert.equal((await admin.fetchTopicOffsets(topic))[0].high, "10");
      assert.equal((await admin.fetchTopicOffsetsByTimestamp(topic, 0))[0].offset, "0");
      await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: "4" }] });
      const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
      assert.equal(found.partitions[0].offset, "4");
      await admin.deleteGroups([group]);
    });
  },

  async a_transaction_lands_or_does_not() {
    const topic = await create();
    const producer = kafka.producer({ transactionalId: fresh("id"), maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    for (const value of ["landed", "aborted", "later"]) {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: [{ value }] });
      await (value === "aborted" ? transaction.abort() : transaction.commit());
    }
    await producer.disconnect();
    assert.deepEqual(await values(topic, 2), ["landed", "later"]);
  },

  async each_mechanism_lets_only_the_right_password_in() {
    const ssl = { ca: [readFileSync(process.env.CA)] };
    const gets_in = async (mechanism, password) => {
      const guarded = client({
        brokers: [process.env.GUARDED],
        ssl,
        sasl: { mechanism, username: "probe", password },
        retry: { retries: 0 },
      });
      const admin = guarded.admin();
      try {
        await admin.connect();
        await admin.listTopics();
        return true;
      } catch (error) {
        return error.message;
      } finally {
        await admin.disconnect();
      }
    };
    for (const mechanism of ["plain", "scram-sha-256", "scram-sha-512"]) {
      assert.equal(await gets_in(mechanism, "open sesame"), true, mechanism);
      assert.match(await gets_in(mechanism, "sesame"), /authentication/i, mechanism);
    }
  },
};

await report("kafkajs", probes);
