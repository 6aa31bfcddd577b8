"""Records in and out."""

import os
import time

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from librdkafka import CLIENT, consumer, create, producer, read, read_values, send, values
from probe import expect, fresh, probe

# Ten minutes ago: retention would delete what is older than a week.
BEGIN_MS = int(time.time() * 1000) - 600_000


@probe(CLIENT)
def keys_headers_timestamps_and_tombstones_come_back():
    topic = fresh("round-trip")
    create(topic)
    headers = [("h", b"a"), ("h", b"b"), ("null", None)]
    records = [
        {"key": b"k1", "value": b"v1", "headers": headers, "timestamp": BEGIN_MS + 123},
        {"key": b"k2", "value": None},
        {"key": None, "value": b"no key"},
        {"key": b"", "value": b""},
        {"key": b"k3", "value": b"\x00\xff" * 100},
    ]
    send(producer(acks="all"), topic, records)
    found = read(topic, 5)
    expect([(m.key(), m.value()) for m in found], [(r["key"], r["value"]) for r in records])
    expect(found[0].headers(), headers)
    expect(found[0].timestamp(), (1, BEGIN_MS + 123))
    expect([m.offset() for m in found], [0, 1, 2, 3, 4])


@probe(CLIENT)
def the_broker_sets_timestamps_where_it_shall():
    topic = fresh("append-time")
    create(topic, 1, {"message.timestamp.type": "LogAppendTime"})
    send(producer(), topic, [{"value": b"x", "timestamp": 1000}])
    kind, timestamp_ms = read(topic, 1)[0].timestamp()
    expect(kind, 2, "kind of timestamp")
    assert timestamp_ms >= BEGIN_MS, timestamp_ms


def compressed(codec: str):
    topic = fresh(codec)
    create(topic)
    records = [{"key": b"%d" % i, "value": b"row %d " % i * 20} for i in range(500)]
    send(producer(**{"compression.type": codec, "linger.ms": 50}), topic, records)
    expect([{"key": m.key(), "value": m.value()} for m in read(topic, 500)], records)


@probe(CLIENT)
def gzip_comes_back():
    compressed("gzip")


@probe(CLIENT)
def snappy_comes_back():
    compressed("snappy")


@probe(CLIENT)
def lz4_comes_back():
    compressed("lz4")


@probe(CLIENT)
def zstd_comes_back():
    compressed("zstd")


@probe(CLIENT)
def every_kind_of_acknowledgement_works():
    topic = fresh("acks")
    create(topic)
    for acks in ("0", "1", "all"):
        send(producer(acks=acks), topic, values(acks.encode()))
    expect(read_values(topic, n=3), [b"0", b"1", b"all"])


@probe(CLIENT, 60)
def an_idempotent_producer_keeps_order():
    topic = fresh("idempotent")
    create(topic, 3)
    records = [{"value": b"%d" % i, "key": b"k%d" % (i % 50)} for i in range(10_000)]
    send(producer(**{"enable.idempotence": True}), topic, records)
    found = read(topic, 10_000, 3, seconds=30)
    expect(len(found), 10_000)
    for index in range(3):
        own = [(m.offset(), int(m.value())) for m in found if m.partition() == index]
        expect([offset for offset, _ in own], list(range(len(own))), "offsets")
        numbers = [number for _, number in own]
        expect(numbers, sorted(numbers), "order")


@probe(CLIENT)
def a_batch_beyond_the_limit_is_refused():
    topic = fresh("too-large")
    create(topic, 1, {"max.message.bytes": "100000"})
    client, errors = producer(**{"message.max.bytes": 5_000_000}), []
    client.produce(topic, b"x" * 500_000, on_delivery=lambda error, _: errors.append(error))
    client.flush(15)
    assert errors and errors[0], "accepted"
    expect(errors[0].name(), "MSG_SIZE_TOO_LARGE")


@probe(CLIENT)
def large_records_come_back():
    topic = fresh("large")
    create(topic, 1, {"max.message.bytes": "10000000"})
    contents = [os.urandom(900_000), os.urandom(5_000_000)]
    send(producer(**{"message.max.bytes": 9_000_000}), topic, values(*contents))
    expect(read_values(topic, n=2, **{"fetch.message.max.bytes": 8_000_000}) == contents, True)


@probe(CLIENT)
def offsets_are_found_by_time():
    topic = fresh("by-time")
    create(topic)
    for i in range(10):
        send(producer(), topic, [{"value": b"%d" % i, "timestamp": BEGIN_MS + i * 1000}])
    client = consumer()
    expect(client.get_watermark_offsets(TopicPartition(topic, 0), timeout=8), (0, 10))
    asked = [TopicPartition(topic, 0, BEGIN_MS + 4500)]
    expect(client.offsets_for_times(asked, timeout=8)[0].offset, 5)
    late = [TopicPartition(topic, 0, BEGIN_MS + 1_000_000)]
    expect(client.offsets_for_times(late, timeout=8)[0].offset, -1)
    client.close()


@probe(CLIENT)
def the_admin_client_lists_offsets():
    topic = fresh("listed")
    client = create(topic, 2)
    send(producer(), topic, values(*range(7)), partition=1)
    place = TopicPartition(topic, 1)

    def offset(spec):
        return client.list_offsets({place: spec})[place].result(10).offset

    specs = (OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.max_timestamp())
    earliest, latest, newest = (offset(spec) for spec in specs)
    expect((earliest, latest), (0, 7))
    assert 0 <= newest < 7, newest


@probe(CLIENT)
def an_offset_out_of_range_is_reset():
    topic = fresh("out-of-range")
    create(topic)
    send(producer(), topic, values(*range(5)))
    expect([m.offset() for m in read(topic, 5, offset=999)], [0, 1, 2, 3, 4])


@probe(CLIENT)
def reading_begins_inside_a_batch():
    topic = fresh("inside")
    create(topic)
    client = producer(**{"linger.ms": 200})
    send(client, topic, values(*range(10)))
    send(client, topic, values(*range(10, 20)))
    for offset in (0, 5, 10, 14, 19):
        found = [m.offset() for m in read(topic, 20 - offset, offset=offset)]
        expect(found, list(range(offset, 20)), f"from {offset}")


@probe(CLIENT, 90)
def a_hundred_thousand_records_come_back_once():
    topic = fresh("many")
    create(topic, 6)
    client = producer(
        **{
            "enable.idempotence": True,
            "compression.type": "zstd",
            "linger.ms": 20,
            "queue.buffering.max.messages": 200_000,
        }
    )
    send(client, topic, [{"value": b"%d" % i, "key": b"%d" % (i % 1000)} for i in range(100_000)])
    found = read_values(topic, n=100_000, partitions=6, seconds=50)
    expect((len(found), len(set(found))), (100_000, 100_000))


@probe(CLIENT)
def records_are_deleted_before_an_offset():
    topic = fresh("cut")
    client = create(topic)
    send(producer(), topic, values(*range(20)))
    cut = TopicPartition(topic, 0, 12)
    client.delete_records([cut])[cut].result(10)
    reader = consumer()
    expect(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=8), (12, 20))
    reader.close()
    expect([m.offset() for m in read(topic, 8)], list(range(12, 20)))
