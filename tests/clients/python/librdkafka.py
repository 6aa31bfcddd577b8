"""confluent-kafka (librdkafka) as the probes use it."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from probe import BROKER, fresh, wait_for

CLIENT = "confluent-kafka"


def admin() -> AdminClient:
    return AdminClient({"bootstrap.servers": BROKER})


def create(topic: str, partitions: int = 1, config: dict | None = None) -> AdminClient:
    """Creates a topic and waits until metadata has it whole."""
    client = admin()
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
    client.create_topics([new], operation_timeout=10)[topic].result(15)

    def whole():
        found = client.list_topics(topic, timeout=5).topics.get(topic)
        return found and found.error is None and len(found.partitions) == partitions

    wait_for(whole, what="topic in metadata")
    return client


def producer(**config) -> Producer:
    base = {"bootstrap.servers": BROKER, "linger.ms": 5, "message.timeout.ms": 15000}
    return Producer({**base, **config})


def send(client: Producer, topic: str, records: list[dict], **common):
    """Produces, and waits until everything is acknowledged."""
    errors = []

    def delivered(error, _message):
        if error:
            errors.append(error)

    for record in records:
        client.produce(topic, on_delivery=delivered, **record, **common)
        client.poll(0)
    left = client.flush(20)
    assert not errors, f"{len(errors)} records refused, the first: {errors[0]}"
    assert left == 0, f"{left} records not acknowledged"


def values(*contents) -> list[dict]:
    """Records with these values and nothing else."""
    return [{"value": content if isinstance(content, bytes) else b"%d" % content} for content in contents]


def consumer(group: str | None = None, **config) -> Consumer:
    base = {
        "bootstrap.servers": BROKER,
        "group.id": group or fresh("group"),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
    }
    return Consumer({**base, **config})


def drain(client: Consumer, n: int | None = None, seconds: float = 15, idle: float | None = None) -> list:
    """Polls until `n` messages have come, nothing came for `idle` seconds, or the time is over."""
    messages, deadline, last = [], time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < deadline and (n is None or len(messages) < n):
        message = client.poll(0.2)
        if message is None:
            if idle and time.monotonic() - last > idle:
                break
            continue
        assert not message.error(), f"consumer: {message.error()}"
        messages.append(message)
        last = time.monotonic()
    return messages


def read(topic: str, n: int | None = None, partitions: int = 1, offset: int = 0, **more) -> list:
    """Reads partitions by assignment, without a group's help."""
    seconds, idle = more.pop("seconds", 15), more.pop("idle", 2)
    client = consumer(**more)
    client.assign([TopicPartition(topic, index, offset) for index in range(partitions)])
    messages = drain(client, n, seconds, idle)
    client.close()
    return messages


def read_values(topic: str, **more) -> list[bytes]:
    return [message.value() for message in read(topic, **more)]


COMMITTED = {"isolation.level": "read_committed"}
UNCOMMITTED = {"isolation.level": "read_uncommitted"}
