"""aiokafka: an independent client for asyncio."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from librdkafka import COMMITTED, create, read_values
from probe import BROKER, expect, fresh, probe

CLIENT = "aiokafka"


class OnPurpose(Exception):
    """Ends a transaction."""


@probe(CLIENT, 60)
def a_group_reads_what_was_produced():
    topic = fresh("aiokafka")
    create(topic, 3)

    async def run():
        producer = AIOKafkaProducer(
            bootstrap_servers=BROKER, acks="all", enable_idempotence=True, compression_type="gzip"
        )
        await producer.start()
        for i in range(100):
            await producer.send_and_wait(topic, b"%d" % i, key=b"k%d" % i)
        await producer.stop()
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=BROKER,
            group_id=fresh("group"),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        found = {(await asyncio.wait_for(consumer.getone(), 15)).value for _ in range(100)}
        await consumer.commit()
        await consumer.stop()
        expect(found, {b"%d" % i for i in range(100)})

    asyncio.run(run())


@probe(CLIENT, 60)
def a_transaction_lands_or_does_not():
    topic = fresh("aiokafka")
    create(topic)

    async def run():
        producer = AIOKafkaProducer(bootstrap_servers=BROKER, transactional_id=fresh("id"))
        await producer.start()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"landed")
        try:
            async with producer.transaction():
                await producer.send_and_wait(topic, b"aborted")
                raise OnPurpose
        except OnPurpose:
            pass
        await producer.stop()

    asyncio.run(run())
    expect(read_values(topic, seconds=6, **COMMITTED), [b"landed"])
