"""Consumer groups."""

import multiprocessing
import time

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from librdkafka import CLIENT, admin, consumer, create, drain, producer, send, values
from probe import expect, fresh, probe, wait_for


def poll_until(members: list, shares: list[int], seconds: float = 25):
    """Polls the members until each has as many partitions as its share."""

    def shared():
        for member in members:
            member.poll(0.05)
        return [len(member.assignment()) for member in members] == shares

    wait_for(shared, seconds, f"shares of {shares}")


def keyed(n: int) -> list[dict]:
    return [{"value": b"%d" % i, "key": b"%d" % i} for i in range(n)]


def places(messages: list) -> set:
    return {(message.partition(), message.offset()) for message in messages}


def shared_and_taken_back(**config):
    """One member gets everything, two get half each, and the one that stays gets everything again."""
    topic, group = fresh("shared"), fresh("group")
    create(topic, 6)
    first = consumer(group, **config)
    first.subscribe([topic])
    poll_until([first], [6])
    second = consumer(group, **config)
    second.subscribe([topic])
    poll_until([first, second], [3, 3])
    second.close()
    poll_until([first], [6])
    first.close()


@probe(CLIENT, 70)
def range_shares_out():
    shared_and_taken_back(**{"partition.assignment.strategy": "range"})


@probe(CLIENT, 70)
def round_robin_shares_out():
    shared_and_taken_back(**{"partition.assignment.strategy": "roundrobin"})


@probe(CLIENT, 70)
def cooperative_sticky_shares_out():
    shared_and_taken_back(**{"partition.assignment.strategy": "cooperative-sticky"})


@probe(CLIENT, 70)
def the_consumer_protocol_shares_out():
    # The broker sets the time-outs of KIP-848; librdkafka refuses its own beside it.
    from confluent_kafka import Consumer

    from probe import BROKER

    topic, group = fresh("kip-848"), fresh("group")
    create(topic, 6)
    config = {
        "bootstrap.servers": BROKER,
        "group.id": group,
        "group.protocol": "consumer",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    first = Consumer(config)
    first.subscribe([topic])
    poll_until([first], [6])
    second = Consumer(config)
    second.subscribe([topic])
    poll_until([first, second], [3, 3])
    second.close()
    poll_until([first], [6])
    first.close()


@probe(CLIENT)
def a_group_goes_on_where_it_committed():
    topic, group = fresh("resumed"), fresh("group")
    create(topic, 3)
    send(producer(), topic, keyed(300))
    first = consumer(group)
    first.subscribe([topic])
    before = drain(first, 120)
    first.commit(asynchronous=False)
    first.close()
    second = consumer(group)
    second.subscribe([topic])
    after = drain(second, 180, idle=11)
    second.close()
    expect((len(after), len(places(before) | places(after))), (180, 300))


@probe(CLIENT, 60)
def five_sessions_lose_nothing():
    topic, group = fresh("sessions"), fresh("group")
    create(topic, 2)
    send(producer(**{"linger.ms": 100}), topic, keyed(1000))
    seen = set()
    for n in (137, 137, 137, 137, None):
        member = consumer(group)
        member.subscribe([topic])
        messages = drain(member, n, 12, idle=6)
        seen |= places(messages)
        if messages:
            member.commit(asynchronous=False)
        member.close()
    expect(len(seen), 1000)


@probe(CLIENT)
def a_commits_metadata_comes_back():
    topic = fresh("metadata")
    create(topic)
    member = consumer()
    member.commit(offsets=[TopicPartition(topic, 0, 42, "our-word")], asynchronous=False)
    found = member.committed([TopicPartition(topic, 0)], timeout=8)[0]
    member.close()
    expect((found.offset, found.metadata), (42, "our-word"))


@probe(CLIENT, 60)
def a_dead_members_partitions_are_taken_over():
    topic, group = fresh("dead"), fresh("group")
    create(topic, 4)
    shares = multiprocessing.Queue()

    def victim():
        member = consumer(group)
        member.subscribe([topic])
        while True:
            member.poll(0.1)
            if member.assignment():
                shares.put(len(member.assignment()))

    process = multiprocessing.Process(target=victim, daemon=True)
    process.start()
    shares.get(timeout=20)
    survivor = consumer(group)
    survivor.subscribe([topic])
    poll_until([survivor], [2])
    process.kill()
    began = time.monotonic()
    poll_until([survivor], [4], 30)
    survivor.close()
    return f"after {time.monotonic() - began:.0f} s, the session's time-out is 6 s"


@probe(CLIENT, 60)
def a_static_member_comes_back_to_its_share():
    topic, group = fresh("static"), fresh("group")
    client = create(topic, 2)
    for _ in range(2):
        member = consumer(group, **{"group.instance.id": "one"})
        member.subscribe([topic])
        poll_until([member], [2])
        member.close()
        described = client.describe_consumer_groups([group])[group].result(10)
        expect(len(described.members), 1, "members after a static one has gone")


@probe(CLIENT)
def groups_are_listed_and_described():
    topic, group = fresh("listed"), fresh("group")
    create(topic, 2)
    member = consumer(group)
    member.subscribe([topic])
    poll_until([member], [2])
    client = admin()
    listed = client.list_consumer_groups().result(10).valid
    assert any(found.group_id == group for found in listed), "not listed"
    found = client.describe_consumer_groups([group])[group].result(10)
    member.close()
    expect((found.state.name, len(found.members)), ("STABLE", 1))
    expect(len(found.members[0].assignment.topic_partitions), 2, "partitions described")


@probe(CLIENT)
def a_groups_offsets_are_listed_altered_and_deleted():
    topic, group = fresh("offsets"), fresh("group")
    create(topic, 2)
    for index in range(2):
        send(producer(), topic, values(*range(10)), partition=index)
    member = consumer(group)
    member.subscribe([topic])
    drain(member, 20)
    member.commit(asynchronous=False)
    member.close()
    client = admin()

    def offsets():
        asked = [ConsumerGroupTopicPartitions(group)]
        found = client.list_consumer_group_offsets(asked)[group].result(10)
        return {place.partition: place.offset for place in found.topic_partitions}

    expect(offsets(), {0: 10, 1: 10})
    back = [TopicPartition(topic, 0, 3), TopicPartition(topic, 1, 4)]
    client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, back)])[group].result(10)
    expect(offsets(), {0: 3, 1: 4})
    member = consumer(group)
    member.subscribe([topic])
    expect(len(drain(member, 14, 10, idle=4)), 13, "records after the offsets were moved")
    member.close()
    client.delete_consumer_groups([group])[group].result(10)
    assert group not in [found.group_id for found in client.list_consumer_groups().result(10).valid]
    assert all(offset < 0 for offset in offsets().values()), "offsets survive their group"
