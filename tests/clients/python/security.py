"""TLS and SASL, at the listener in GUARDED whose certificate is in CA; its user is `probe`, the password `open sesame`."""

import os
import ssl
import subprocess

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from probe import expect, probe

GUARDED = os.environ.get("GUARDED", "")
CA = os.environ.get("CA", "")
USER, PASSWORD = "probe", "open sesame"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def librdkafka(mechanism: str, password: str, **more) -> bool:
    """Whether confluent-kafka gets in."""
    config = {
        "bootstrap.servers": GUARDED,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
        "sasl.password": password,
        "ssl.ca.location": CA,
        "log_level": 0,
    }
    try:
        AdminClient({**config, **more}).list_topics(timeout=4)
    except KafkaException:
        return False
    return True


def kafka_python(mechanism: str, password: str) -> bool:
    """Whether kafka-python gets in."""
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        client = KafkaAdminClient(
            bootstrap_servers=GUARDED,
            security_protocol="SASL_SSL",
            sasl_mechanism=mechanism,
            sasl_plain_username=USER,
            sasl_plain_password=password,
            ssl_cafile=CA,
            bootstrap_timeout_ms=4000,
        )
        client.list_topics()
        client.close()
    except KafkaError:
        return False
    return True


def aiokafka(mechanism: str, password: str) -> bool:
    """Whether aiokafka gets in."""
    import asyncio

    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    async def run():
        client = AIOKafkaAdminClient(
            bootstrap_servers=GUARDED,
            security_protocol="SASL_SSL",
            sasl_mechanism=mechanism,
            sasl_plain_username=USER,
            sasl_plain_password=password,
            ssl_context=ssl.create_default_context(cafile=CA),
        )
        try:
            await client.start()
            await client.list_topics()
        finally:
            await client.close()

    try:
        asyncio.run(run())
    except KafkaError:
        return False
    return True


def kcat(mechanism: str, password: str) -> bool:
    """Whether kcat gets in."""
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
        "sasl.password": password,
        "ssl.ca.location": CA,
    }
    flags = [flag for name, value in properties.items() for flag in ("-X", f"{name}={value}")]
    done = subprocess.run(["kcat", "-b", GUARDED, "-L", "-m", "4", *flags], capture_output=True, timeout=20)
    return done.returncode == 0


def each_mechanism(gets_in):
    for mechanism in MECHANISMS:
        expect(gets_in(mechanism, PASSWORD), True, f"{mechanism} with the password:")
        expect(gets_in(mechanism, "sesame"), False, f"{mechanism} with another password:")


def probe_of(client: str, gets_in):
    """A probe of each client, under one name."""

    def each_mechanism_lets_only_the_right_password_in():
        each_mechanism(gets_in)

    probe(client, 60)(each_mechanism_lets_only_the_right_password_in)


probe_of("confluent-kafka", librdkafka)
probe_of("kafka-python", kafka_python)
probe_of("aiokafka", aiokafka)
probe_of("kcat", kcat)


@probe("confluent-kafka")
def an_unknown_certificate_is_not_trusted():
    expect(librdkafka("PLAIN", PASSWORD, **{"ssl.ca.location": "probe"}), False)
