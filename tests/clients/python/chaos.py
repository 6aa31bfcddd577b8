"""Group members join, leave and are killed while a producer runs: every record is delivered at least once."""

import multiprocessing
import random
import time

from librdkafka import CLIENT, consumer, create, producer
from probe import expect, fresh, probe

PRODUCING_SECONDS = 15
MEMBERS_MAX = 4
BATCH = 50


def member(topic: str, group: str, strategy: str, life: float, delivered):
    """Hands records on before it commits them, as a sink does."""
    client = consumer(group, **{"partition.assignment.strategy": strategy})
    client.subscribe([topic])
    deadline, batch = time.monotonic() + life, []
    while time.monotonic() < deadline:
        message = client.poll(0.1)
        if message and not message.error():
            batch.append(int(message.value()))
        if len(batch) >= BATCH or (batch and not message):
            delivered.put(batch)
            batch = []
            try:
                client.commit(asynchronous=False)
            except Exception:
                # The group has moved on without this member: others deliver the batch again.
                pass
    client.close()


def survived(strategy: str):
    topic, group, seed = fresh("chaos"), fresh("group"), random.randrange(1 << 32)
    create(topic, 8)
    chance, delivered, seen = random.Random(seed), multiprocessing.Queue(), {}
    members, kills, n = [], 0, 0

    def take():
        while not delivered.empty():
            for number in delivered.get():
                seen[number] = seen.get(number, 0) + 1

    def join(life: float):
        arguments = (topic, group, strategy, life, delivered)
        members.append(multiprocessing.Process(target=member, args=arguments, daemon=True))
        members[-1].start()

    client, deadline = producer(**{"enable.idempotence": True}), time.monotonic() + PRODUCING_SECONDS
    while time.monotonic() < deadline:
        for _ in range(20):
            client.produce(topic, b"%d" % n, key=b"%d" % (n % 500))
            n += 1
        client.poll(0.02)
        take()
        members = [one for one in members if one.is_alive()]
        if len(members) < MEMBERS_MAX and chance.random() < 0.15:
            join(chance.uniform(3, 15))
        if members and chance.random() < 0.02:
            chance.choice(members).kill()
            kills += 1
        time.sleep(0.03)
    expect(client.flush(10), 0, "records not acknowledged")
    for one in members:
        one.kill()
    join(40)
    deadline = time.monotonic() + 38
    while time.monotonic() < deadline and len(seen) < n:
        take()
        time.sleep(0.1)
    members[-1].kill()
    expect(len(seen), n, f"records delivered (seed {seed}, {kills} kills)")
    return f"{n} records, {sum(seen.values()) - n} twice, {kills} members killed"


@probe(CLIENT, 90)
def chaos_in_a_range_group_loses_nothing():
    return survived("range")


@probe(CLIENT, 90)
def chaos_in_a_cooperative_group_loses_nothing():
    return survived("cooperative-sticky")
