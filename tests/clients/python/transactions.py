"""Transactions."""

import time

from confluent_kafka import KafkaException, TopicPartition

from librdkafka import (
    CLIENT,
    COMMITTED,
    UNCOMMITTED,
    consumer,
    create,
    drain,
    producer,
    read_values,
    send,
    values,
)
from probe import expect, fresh, probe, wait_for


def transactional(transactional_id: str | None = None, **config):
    client = producer(**{"transactional.id": transactional_id or fresh("id"), **config})
    client.init_transactions(15)
    return client


@probe(CLIENT, 60)
def what_is_aborted_is_not_seen():
    topic = fresh("transactions")
    create(topic, 2)
    client = transactional()
    for outcome, n in ((b"landed", 10), (b"aborted", 10), (b"later", 4)):
        client.begin_transaction()
        for i in range(n):
            client.produce(topic, b"%s %d" % (outcome, i), partition=i % 2)
        client.flush(10)
        if outcome == b"aborted":
            client.abort_transaction(15)
        else:
            client.commit_transaction(15)
    seen = read_values(topic, partitions=2, **COMMITTED)
    expected = [b"landed %d" % i for i in range(10)] + [b"later %d" % i for i in range(4)]
    expect(sorted(seen), sorted(expected))
    expect(len(read_values(topic, partitions=2, **UNCOMMITTED)), 24)


@probe(CLIENT, 60)
def an_open_transaction_holds_back_what_follows():
    topic = fresh("open")
    create(topic)
    client = transactional()
    client.begin_transaction()
    client.produce(topic, b"open")
    client.flush(10)
    send(producer(), topic, values(b"plain"))
    expect(read_values(topic, seconds=4, **COMMITTED), [])
    client.commit_transaction(15)
    expect(read_values(topic, n=2, **COMMITTED), [b"open", b"plain"])


@probe(CLIENT, 60)
def offsets_land_with_their_transaction_or_not_at_all():
    source, target, group = fresh("source"), fresh("target"), fresh("group")
    create(source)
    create(target)
    send(producer(), source, values(*range(50)))
    reader = consumer(group, **COMMITTED)
    reader.subscribe([source])
    messages, client = drain(reader, 50), transactional()

    def committed():
        return reader.committed([TopicPartition(source, 0)], timeout=8)[0].offset

    def move(first, end):
        client.begin_transaction()
        for message in messages[first:end]:
            client.produce(target, message.value())
        place = TopicPartition(source, 0, end)
        client.send_offsets_to_transaction([place], reader.consumer_group_metadata(), 15)

    move(0, 30)
    client.commit_transaction(15)
    expect(committed(), 30)
    move(30, 50)
    client.abort_transaction(15)
    expect(committed(), 30)
    reader.close()
    expect(len(read_values(target, **COMMITTED)), 30)


@probe(CLIENT, 60)
def a_zombie_is_fenced():
    topic, transactional_id = fresh("zombie"), fresh("id")
    create(topic)
    zombie = transactional(transactional_id)
    zombie.begin_transaction()
    zombie.produce(topic, b"zombie")
    zombie.flush(10)
    transactional(transactional_id)
    try:
        zombie.commit_transaction(15)
    except KafkaException as error:
        assert error.args[0].name() in ("_FENCED", "INVALID_PRODUCER_EPOCH"), error
    else:
        raise AssertionError("the zombie commits")
    expect(read_values(topic, seconds=4, **COMMITTED), [])


@probe(CLIENT, 60)
def the_coordinator_aborts_what_takes_too_long():
    topic = fresh("overdue")
    create(topic)
    client = transactional(**{"transaction.timeout.ms": 5000, "message.timeout.ms": 4000})
    client.begin_transaction()
    client.produce(topic, b"stale")
    client.flush(10)
    send(producer(), topic, values(b"plain"))
    began = time.monotonic()
    seen = wait_for(lambda: read_values(topic, n=1, seconds=4, **COMMITTED), 35, "abort")
    expect(seen, [b"plain"])
    return f"after {time.monotonic() - began:.0f} s"
