"""A short run of the harness; `python tests/http/worst.py --help` runs it at length."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from worst import Attack, Attacker, attacks_of

from ordermill.http.api.waiting_places import WaitingPlaces
from ordermill.http.framework.exchange import Exchange
from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.transport.connection import Connection

if TYPE_CHECKING:
    from tests.http.conftest import Client

FREED_SECONDS = 10
ATTACK_SECONDS = 5
STRANGERS = 100
PLACES = 40


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("options", [[], ["--tls"]], ids=["http", "https"])
def test_the_worst_things_together_spoil_no_answer_and_take_no_more_memory_than_is_promised(options: list[str]) -> None:
    harness = Path(__file__).with_name("worst.py")
    ended = subprocess.run(
        [sys.executable, str(harness), "--strangers", "300", "--seconds", "8", "--max-p99-ratio", "1000", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    verdict = json.loads(ended.stdout)
    assert verdict["wrong"] == []
    assert all(service["requests"] for service in verdict["among"])
    assert len(verdict["attacks"]) >= 8  # some take longer than this run


@pytest.mark.slow
def test_ten_seconds_after_the_worst_things_together_nothing_is_held_for_them(
    start_server: Callable[..., Client], tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys", [Role.SUBMIT, Role.READ], user="mallory")
    client = start_server(keys_file=str(tmp_path / "keys"), max_waiting=PLACES)
    before = free(client)

    asyncio.run(attack_all_at_once(client.address[1], key))

    ends = time.monotonic() + FREED_SECONDS
    while (still := held(client)) and time.monotonic() < ends:
        time.sleep(0.1)
    assert still == Counter()
    assert free(client) == before


def free(client: Client) -> list[int]:
    """How many bytes of each kind the server has to give."""
    return [budget.free for budget in client.server.buffers]


def held(client: Client) -> Counter[str]:
    """How much there is of connections, requests, places to wait that are taken, and work."""
    things = gc.get_objects()
    alive = [type(thing).__name__ for thing in things if isinstance(thing, Connection | Exchange)]
    places = sum(thing._taken.total() for thing in things if isinstance(thing, WaitingPlaces))
    server = client.server
    return Counter(alive) + Counter(places=places, opening=len(server._opening), work=server._workers._unfinished)


async def attack_all_at_once(port: int, key: str) -> None:
    """Have each attack made by several at the same time, and given up where it takes long."""
    attacker = Attacker(port, key)
    await attacker.fill()

    async def make(attack: Attack) -> None:
        with suppress(OSError):  # a TimeoutError is one
            await asyncio.wait_for(attack(), ATTACK_SECONDS)

    attacks = [attack for attack, clients, _ in attacks_of(attacker, STRANGERS) for _ in range(clients)]
    assert len(set(attacks)) == 10
    await asyncio.gather(*map(make, attacks))
