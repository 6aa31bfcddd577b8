// @kafkajs/confluent-schema-registry against the registry in $REGISTRY, through the broker in $KAFKA. Each result
// is one line of JSON.

import { randomUUID } from "node:crypto";
import assert from "node:assert/strict";
import { Kafka, logLevel } from "kafkajs";
import registries from "@kafkajs/confluent-schema-registry";
import { report } from "./report.mjs";

const { SchemaRegistry, SchemaType, COMPATIBILITY } = registries;
const fresh = (prefix) => `${prefix}-${randomUUID().slice(0, 8)}`;
const client = () => new SchemaRegistry({ host: process.env.REGISTRY });

/// What is read with a fresh client of what was written under a schema, through Kafka.
async function throughKafka(id, values) {
  const kafka = new Kafka({ clientId: "probe", brokers: [process.env.KAFKA], logLevel: logLevel.NOTHING });
  const topic = fresh("registry");
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
  await admin.disconnect();
  const registry = client();
  const producer = kafka.producer();
  await producer.connect();
  const messages = await Promise.all(values.map(async (value) => ({ value: await registry.encode(id, value) })));
  await producer.send({ topic, messages });
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: fresh("group") });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const [read, reader] = [[], client()];
  await new Promise((resolve, reject) => {
    const eachMessage = async ({ message }) => {
      try {
        read.push(await reader.decode(message.value));
      } catch (error) {
        reject(error);
      }
      if (read.length === values.length) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
  });
  await consumer.disconnect();
  return read.map((value) => JSON.parse(JSON.stringify(value)));
}

const USER = {
  type: "record",
  name: "User",
  namespace: "probe",
  fields: [{ name: "id", type: "int" }, { name: "name", type: ["null", "string"], default: null }],
};

const probes = {
  async avro_goes_through_kafka_and_back() {
    const registry = client();
    const subject = fresh("avro");
    const { id } = await registry.register({ type: SchemaType.AVRO, schema: JSON.stringify(USER) }, { subject });
    assert.equal(await registry.getLatestSchemaId(subject), id);
    assert.equal(await registry.getRegistryId(subject, 1), id);
    const values = [{ id: 1, name: "ü" }, { id: 2, name: null }];
    assert.deepEqual(await throughKafka(id, values), values);
  },

  async json_goes_through_kafka_and_back() {
    const schema = { type: "object", properties: { id: { type: "integer" } }, required: ["id"] };
    const { id } = await client().register(
      { type: SchemaType.JSON, schema: JSON.stringify(schema) },
      { subject: fresh("json") },
    );
    assert.deepEqual(await throughKafka(id, [{ id: 1 }, { id: 2 }]), [{ id: 1 }, { id: 2 }]);
    await assert.rejects(client().encode(id, { id: "x" }));
  },

  async protobuf_goes_through_kafka_and_back() {
    const schema = 'syntax = "proto3"; package probe; message Event { int32 id = 1; string name = 2; }';
    const { id } = await client().register({ type: SchemaType.PROTOBUF, schema }, { subject: fresh("protobuf") });
    const values = [{ id: 1, name: "ü" }, { id: 2, name: "b" }];
    assert.deepEqual(await throughKafka(id, values), values);
  },

  async an_incompatible_schema_is_refused() {
    const registry = client();
    const options = { subject: fresh("refused"), compatibility: COMPATIBILITY.FULL };
    await registry.register({ type: SchemaType.AVRO, schema: JSON.stringify(USER) }, options);
    const fields = [...USER.fields, { name: "more", type: "int" }];
    const other = { type: SchemaType.AVRO, schema: JSON.stringify({ ...USER, fields }) };
    await assert.rejects(registry.register(other, options), /incompatible with an earlier schema/);
  },
};

await report("kafkajs registry", probes);
