"""Compaction and retention."""

import time

from confluent_kafka import TopicPartition

from librdkafka import CLIENT, consumer, create, producer, read, send, values
from probe import fresh, probe, wait_for

SMALL_SEGMENTS = {"segment.ms": "500", "segment.bytes": "16384"}


@probe(CLIENT, 120)
def compaction_keeps_the_last_of_each_key():
    topic = fresh("compacted")
    config = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.01",
        "delete.retention.ms": "100",
        "max.compaction.lag.ms": "1000",
        **SMALL_SEGMENTS,
    }
    create(topic, 1, config)
    client = producer()
    for turn in range(20):
        send(client, topic, [{"key": b"k%d" % i, "value": b"%d " % turn + b"x" * 100} for i in range(50)])
        time.sleep(0.1)
    send(client, topic, [{"key": b"k0", "value": None}])
    time.sleep(1)
    send(client, topic, [{"key": b"tail", "value": b"t"}])

    def compacted():
        found = read(topic, idle=1.5)
        return found if len(found) < 400 else None

    found = wait_for(compacted, 75, "compaction")
    last = {m.key(): m.value() for m in found}
    assert all(last[b"k%d" % i].startswith(b"19 ") for i in range(1, 50)), "a last value is gone"
    return f"{len(found)} of 1,002 records are left"


@probe(CLIENT, 120)
def retention_deletes_what_is_old():
    topic = fresh("retained")
    create(topic, 1, {"retention.ms": "2000", "file.delete.delay.ms": "100", **SMALL_SEGMENTS})
    client = producer()
    an_hour_ago = int(time.time() * 1000) - 3_600_000
    for _ in range(10):
        send(client, topic, values(*[b"x" * 2000] * 10), timestamp=an_hour_ago)
        time.sleep(0.2)
    send(client, topic, values(b"new"))
    reader = consumer()
    place = TopicPartition(topic, 0)
    wait_for(lambda: reader.get_watermark_offsets(place, timeout=8)[0] > 0, 75, "retention")
    reader.close()
