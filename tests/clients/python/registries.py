"""Clients of the schema registry: confluent-kafka's, with its serialisers, and python-schema-registry-client."""

import os
from decimal import Decimal

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from schema_registry.client import SchemaRegistryClient as OtherClient
from schema_registry.client.schema import AvroSchema, JsonSchema
from schema_registry.serializers import AvroMessageSerializer, JsonMessageSerializer

from librdkafka import create
from probe import BROKER, expect, fresh, probe

CLIENT = "ck registry"
OTHER = "psr-client"
REGISTRY = os.environ["REGISTRY"]

USER = '{"type":"record","name":"User","fields":[{"name":"id","type":"long"},{"name":"name","type":["null","string"],"default":null}]}'
ORDER = '{"type":"record","name":"Order","fields":[{"name":"user","type":"User"},{"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}'


def client() -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": REGISTRY})


def through_kafka(topic: str, values: list[bytes]) -> list[bytes]:
    """What a consumer reads of what a producer wrote."""
    create(topic, 1)
    producer = Producer({"bootstrap.servers": BROKER})
    for value in values:
        producer.produce(topic, value)
    producer.flush(20)
    consumer = Consumer({"bootstrap.servers": BROKER, "group.id": fresh("group"), "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    read = []
    while len(read) < len(values):
        message = consumer.poll(20)
        assert message is not None and message.error() is None, message and message.error()
        read.append(message.value())
    consumer.close()
    return read


@probe(CLIENT)
def schemas_are_registered_found_listed_and_deleted():
    registry, subject = client(), fresh("subject")
    schema = Schema(USER, "AVRO")
    first = registry.register_schema_full_response(subject, schema)
    expect(registry.register_schema(subject, schema), first.schema_id)
    expect(registry.lookup_schema(subject, schema).version, 1)
    expect(registry.get_schema(first.schema_id).schema_str, USER)
    expect(registry.get_schema_by_guid(registry.get_latest_version(subject).guid).schema_str, USER)
    expect(subject in registry.get_subjects(), True)
    expect(registry.get_versions(subject), [1])
    expect(sorted(registry.get_schema_types()), ["AVRO", "JSON", "PROTOBUF"])
    expect(registry.get_contexts(), ["."])
    expect([one.subject for one in registry.get_schema_versions(first.schema_id) if one.subject == subject], [subject])
    expect(registry.delete_version(subject, 1), 1)
    expect(registry.delete_subject(subject, permanent=True), [1])
    try:
        # One that remembers nothing.
        client().get_latest_version(subject)
        assert False, "it is gone"
    except SchemaRegistryError as error:
        expect((error.http_status_code, error.error_code), (404, 40401))


@probe(CLIENT)
def levels_decide_what_is_compatible():
    registry, subject = client(), fresh("subject")
    registry.register_schema(subject, Schema(USER, "AVRO"))
    bad = Schema(USER.replace('"default":null', '"doc":"x"').replace('"name":"id"', '"name":"key"'), "AVRO")
    expect(registry.test_compatibility(subject, bad), False)
    try:
        registry.register_schema(subject, bad)
        assert False, "it is incompatible"
    except SchemaRegistryError as error:
        expect((error.http_status_code, error.error_code), (409, 40901))
    registry.set_compatibility(subject, "NONE")
    expect(registry.get_compatibility(subject), "NONE")
    expect(registry.test_compatibility(subject, bad), True)
    registry.register_schema(subject, bad)
    expect(registry.get_versions(subject), [1, 2])


@probe(CLIENT)
def avro_with_references_goes_through_kafka_and_back():
    registry, topic = client(), fresh("avro")
    registry.register_schema("User", Schema(USER, "AVRO"))
    schema = Schema(ORDER, "AVRO", [SchemaReference("User", "User", 1)])
    serializer = AvroSerializer(registry, schema)
    context = SerializationContext(topic, MessageField.VALUE)
    orders = [{"user": {"id": n, "name": f"ü{n}"}, "sum": Decimal(n) / 100} for n in range(20)]
    read = through_kafka(topic, [serializer(order, context) for order in orders])
    deserializer = AvroDeserializer(client())
    expect([deserializer(value, context) for value in read], orders)


@probe(CLIENT)
def json_goes_through_kafka_and_back():
    registry, topic = client(), fresh("json")
    schema = '{"type":"object","title":"T","properties":{"id":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}},"required":["id"]}'
    serializer = JSONSerializer(schema, registry)
    context = SerializationContext(topic, MessageField.VALUE)
    values = [{"id": n, "tags": [f"t{n}"]} for n in range(20)]
    read = through_kafka(topic, [serializer(value, context) for value in values])
    deserializer = JSONDeserializer(None, schema_registry_client=client())
    expect([deserializer(value, context) for value in read], values)
    try:
        serializer({"id": "x"}, context)
        assert False, "it is invalid"
    except Exception as error:
        expect("integer" in str(error), True)


def messages():
    """Classes of two files, of which one imports the other, and one of Google's."""
    inner = descriptor_pb2.FileDescriptorProto(name="probe/inner.proto", package="probe", syntax="proto3")
    message = inner.message_type.add(name="Inner")
    message.field.add(name="text", number=1, type=9, label=1)
    outer = descriptor_pb2.FileDescriptorProto(name="probe/outer.proto", package="probe", syntax="proto3")
    outer.dependency.extend(["probe/inner.proto", "google/protobuf/timestamp.proto"])
    outer.message_type.add(name="First")
    message = outer.message_type.add(name="Outer")
    message.field.add(name="inner", number=1, type=11, label=3, type_name=".probe.Inner")
    message.field.add(name="at", number=2, type=11, label=1, type_name=".google.protobuf.Timestamp")
    entry = message.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=5, label=1)
    message.field.add(name="counts", number=3, type=11, label=3, type_name=".probe.Outer.CountsEntry")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(inner)
    pool.Add(outer)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("probe.Outer"))


@probe(CLIENT)
def protobuf_with_references_goes_through_kafka_and_back():
    registry, topic, kind = client(), fresh("protobuf"), messages()
    serializer = ProtobufSerializer(kind, registry)
    context = SerializationContext(topic, MessageField.VALUE)
    values = []
    for n in range(20):
        value = kind(counts={"a": n})
        value.inner.add(text=f"ü{n}")
        value.at.seconds = n
        values.append(value)
    read = through_kafka(topic, [serializer(value, context) for value in values])
    deserializer = ProtobufDeserializer(kind, {}, client())
    expect([deserializer(value, context) for value in read], values)
    stored = registry.get_latest_version(f"{topic}-value")
    expect(stored.schema.references[0].name, "probe/inner.proto")
    expect("import \"probe/inner.proto\";" in stored.schema.schema_str, True, stored.schema.schema_str)
    expect(registry.lookup_schema(f"{topic}-value", stored.schema).version, 1)


@probe(OTHER)
def another_client_registers_checks_and_compares():
    registry, subject = OtherClient(url=REGISTRY), fresh("subject")
    schema = AvroSchema(USER)
    schema_id = registry.register(subject, schema)
    expect(registry.check_version(subject, schema).schema_id, schema_id)
    expect(registry.get_by_id(schema_id).name, "User")
    expect(registry.get_schema(subject).version, 1)
    expect(registry.get_versions(subject), [1])
    expect(subject in registry.get_subjects(), True)
    expect(registry.test_compatibility(subject, AvroSchema('"int"')), False)
    expect(registry.update_compatibility("FULL", subject), True)
    expect(registry.get_compatibility(subject), "FULL")
    expect(registry.delete_version(subject, 1), 1)
    expect(registry.register(fresh("subject"), JsonSchema('{"type":"object"}')) > 0, True)


@probe(OTHER)
def another_clients_serialisers_read_what_they_wrote():
    registry = OtherClient(url=REGISTRY)
    avro = AvroMessageSerializer(registry)
    value = {"id": 7, "name": "ü"}
    written = avro.encode_record_with_schema(fresh("subject"), AvroSchema(USER), value)
    expect(AvroMessageSerializer(OtherClient(url=REGISTRY)).decode_message(written), value)
    json = JsonMessageSerializer(registry)
    schema = JsonSchema('{"type":"object","title":"T","properties":{"id":{"type":"integer"}}}')
    written = json.encode_record_with_schema(fresh("subject"), schema, {"id": 7})
    expect(JsonMessageSerializer(OtherClient(url=REGISTRY)).decode_message(written), {"id": 7})
