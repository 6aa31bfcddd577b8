"""Runs probes: each in a process of its own with a time limit, several at once.

A probe is a function that raises when the broker does not do as Kafka does, and may return what it saw. Each
result is one line of JSON on standard output: client, probe, ok, seconds, detail.
"""

import json
import multiprocessing
import os
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable

# Probes wait more than they work.
AT_ONCE = 5
DETAIL_MAX = 300

BROKER = os.environ["KAFKA"]


@dataclass
class Probe:
    client: str
    name: str
    run: Callable
    seconds_max: int


PROBES: list[Probe] = []


def probe(client: str, seconds_max: int = 40):
    """Registers a probe of a client library."""

    def register(run):
        PROBES.append(Probe(client, run.__name__, run, seconds_max))
        return run

    return register


def fresh(prefix: str) -> str:
    """A name that no other probe uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def expect(found, expected, what: str = ""):
    """Fails unless both are equal."""
    assert found == expected, f"{what} {found!r}, expected {expected!r}".strip()


def wait_for(condition: Callable, seconds: float = 15, what: str = "condition"):
    """Waits until the condition gives something true; gives that."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come in {seconds} s"
        time.sleep(0.05)


def _child(run: Callable, results):
    try:
        results.put((True, run() or ""))
    except BaseException as error:
        results.put((False, f"{type(error).__name__}: {error}"))


def _ran(one: Probe) -> bool:
    results = multiprocessing.Queue()
    child = multiprocessing.Process(target=_child, args=(one.run, results))
    began = time.monotonic()
    child.start()
    try:
        ok, detail = results.get(timeout=one.seconds_max)
    except Exception:
        state = "no result" if child.is_alive() else f"died with {child.exitcode}"
        ok, detail = False, f"{state} after {one.seconds_max} s"
    seconds = time.monotonic() - began
    child.join(2)
    if child.is_alive():
        child.kill()
    line = {"client": one.client, "probe": one.name, "ok": ok, "seconds": round(seconds, 1)}
    # In one piece: `print` writes the end of a line apart, and other threads between.
    sys.stdout.write(json.dumps({**line, "detail": str(detail)[:DETAIL_MAX]}) + "\n")
    sys.stdout.flush()
    return ok


def main():
    """Runs all probes, or those whose names contain one of the arguments; exits with 1 if one fails."""
    wanted = sys.argv[1:]
    chosen = [one for one in PROBES if not wanted or any(part in one.name for part in wanted)]
    # The longest first, so that none is waited for at the end.
    chosen.sort(key=lambda one: -one.seconds_max)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sys.exit(0 if all(list(pool.map(_ran, chosen))) else 1)
