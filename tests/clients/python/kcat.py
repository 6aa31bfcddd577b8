"""kcat, as the distribution has it: an older librdkafka."""

import json
import subprocess

from librdkafka import create
from probe import BROKER, expect, fresh, probe

CLIENT = "kcat"


def kcat(*arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(["kcat", "-b", BROKER, *arguments], input=given, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr[-200:]
    return done.stdout


@probe(CLIENT, 60)
def lists_produces_and_consumes():
    topic, records = fresh("kcat"), b"k1:v1\nk2:v2\n"
    create(topic)
    assert json.loads(kcat("-L", "-J"))["brokers"]
    kcat("-t", topic, "-P", "-K:", "-z", "snappy", given=records)
    expect(kcat("-t", topic, "-C", "-e", "-K:", "-o", "beginning", "-q"), records)
