"""What confluent-kafka's serialisers write becomes rows: through the embedded Kafka, registry, sink and ClickHouse."""

import base64
import os
import urllib.parse
import urllib.request
from datetime import datetime, timezone
from decimal import Decimal

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from librdkafka import create
from probe import BROKER, probe, wait_for

CLIENT = "ck to rows"
N = 1000

ORDER = """{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["OPEN","PAID"]}},
    {"name":"note","type":["null","string"],"default":null}]}"""
CLICK = """{"type":"object","title":"Click","required":["id"],"properties":{
    "id":{"type":"integer"},"url":{"type":"string"},"tags":{"type":"array","items":{"type":"string"}}}}"""


def clickhouse(sql: str) -> str:
    """What ClickHouse answers; its address has the user and the password in it."""
    url = urllib.parse.urlsplit(os.environ["CLICKHOUSE"])
    login = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    request = urllib.request.Request(f"http://{url.hostname}:{url.port}/", sql.encode())
    request.add_header("Authorization", f"Basic {login}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode().strip()


def publish(topic: str, serializer, values: list) -> None:
    create(topic, 1)
    producer = Producer({"bootstrap.servers": BROKER})
    context = SerializationContext(topic, MessageField.VALUE)
    for value in values:
        producer.produce(topic, serializer(value, context))
    assert producer.flush(20) == 0, "everything is published"


def has_rows(sql: str, expected: str) -> None:
    wait_for(lambda: clickhouse(sql) == expected, 40, f"{expected!r} of {sql}; found {clickhouse(sql)!r}")


def registry() -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": os.environ["REGISTRY"]})


@probe(CLIENT, 80)
def avro_becomes_rows():
    clickhouse(
        "CREATE TABLE tidegate.rows_avro (id UInt64, at DateTime64(3, 'UTC'), sum Decimal(12, 2), "
        "state LowCardinality(String), note Nullable(String)) ENGINE = MergeTree ORDER BY id"
    )
    orders = [
        {
            "id": n,
            "at": datetime.fromtimestamp(1_700_000_000 + n, timezone.utc),
            "sum": Decimal(100 * n + 1) / 100,
            "state": "PAID",
            "note": None if n % 2 else f"ü{n}",
        }
        for n in range(N)
    ]
    publish("rows-avro", AvroSerializer(registry(), ORDER), orders)
    right = (
        "toUnixTimestamp(at) = 1700000000 + id AND sum = id + toDecimal32('0.01', 2) AND state = 'PAID' "
        "AND ifNull(note, '') = if(id % 2 = 0, concat('ü', toString(id)), '')"
    )
    has_rows(f"SELECT count(), uniqExact(id), countIf({right}) FROM tidegate.rows_avro", f"{N}\t{N}\t{N}")


@probe(CLIENT, 80)
def json_becomes_rows():
    clickhouse(
        "CREATE TABLE tidegate.rows_json (id UInt64, url String, tags Array(String)) ENGINE = MergeTree ORDER BY id"
    )
    clicks = [{"id": n, "url": f"/ü/{n}", "tags": [str(n), "x"]} for n in range(N)]
    publish("rows-json", JSONSerializer(CLICK, registry()), clicks)
    right = "url = concat('/ü/', toString(id)) AND tags = [toString(id), 'x']"
    has_rows(f"SELECT count(), uniqExact(id), countIf({right}) FROM tidegate.rows_json", f"{N}\t{N}\t{N}")


def payments():
    """A class of a second message, with what Protobuf has: a oneof, a map, an enumeration, a time, presence."""
    file = descriptor_pb2.FileDescriptorProto(name="rows/payment.proto", package="rows", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.message_type.add(name="Unused")
    state = file.enum_type.add(name="State")
    state.value.add(name="OPEN", number=0)
    state.value.add(name="PAID", number=1)
    message = file.message_type.add(name="Payment")
    message.field.add(name="id", number=1, type=3, label=1)
    message.field.add(name="at", number=2, type=11, label=1, type_name=".google.protobuf.Timestamp")
    message.field.add(name="state", number=3, type=14, label=1, type_name=".rows.State")
    message.field.add(name="tags", number=4, type=9, label=3)
    entry = message.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=5, label=1)
    message.field.add(name="counts", number=5, type=11, label=3, type_name=".rows.Payment.CountsEntry")
    message.oneof_decl.add(name="way")
    message.field.add(name="card", number=6, type=9, label=1, oneof_index=0)
    message.field.add(name="cash", number=7, type=1, label=1, oneof_index=0)
    message.oneof_decl.add(name="_note")
    message.field.add(name="note", number=8, type=9, label=1, proto3_optional=True, oneof_index=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rows.Payment"))


@probe(CLIENT, 80)
def protobuf_becomes_rows():
    clickhouse(
        "CREATE TABLE tidegate.rows_protobuf (id UInt64, at DateTime64(3, 'UTC'), state LowCardinality(String), "
        "tags Array(String), counts Map(String, Int32), card Nullable(String), cash Nullable(Float64), "
        "note Nullable(String)) ENGINE = MergeTree ORDER BY id"
    )
    kind = payments()
    values = []
    for n in range(N):
        value = kind(id=n, state=n % 2, tags=[str(n), "ü"], counts={"n": n})
        value.at.FromMilliseconds(1_700_000_000_000 + n)
        if n % 2:
            value.card = f"card {n}"
        else:
            value.cash, value.note = n / 4, ""
        values.append(value)
    publish("rows-protobuf", ProtobufSerializer(kind, registry()), values)
    right = (
        "toUnixTimestamp64Milli(at) = 1700000000000 + id AND state = if(id % 2 = 1, 'PAID', 'OPEN') "
        "AND tags = [toString(id), 'ü'] AND counts = map('n', toInt32(id)) "
        "AND if(id % 2 = 1, card = concat('card ', toString(id)) AND isNull(cash) AND isNull(note), "
        "isNull(card) AND cash = id / 4 AND note = '')"
    )
    has_rows(f"SELECT count(), uniqExact(id), countIf({right}) FROM tidegate.rows_protobuf", f"{N}\t{N}\t{N}")
