"""What a key has begun ends with it: waits, and answers that go on. What was done is told all the same."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Reply
from ordermill.engine.reply import answer
from ordermill.engine.testing import Held
from ordermill.http.config import ServerConfig
from ordermill.http.framework.deferred import Deferred
from ordermill.http.framework.facade import Facade
from ordermill.http.framework.response import Response
from ordermill.http.framework.route import Route
from ordermill.http.framework.stream import Stream
from ordermill.http.security.access import READING, Authenticator
from ordermill.http.security.api_keys import Role, create_key, id_of, read_keys, revoke_key
from ordermill.http.security.keyring import Keyring
from ordermill.http.security.protection import Protection
from ordermill.http.transport.server import HttpServer

if TYPE_CHECKING:
    from tests.http.conftest import Client

MakeOrder = Callable[..., dict[str, Any]]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The file of the keys."""
    return tmp_path / "keys"


@contextmanager
def asked(address: tuple[str, int], path: str, key: str) -> Iterator[http.client.HTTPConnection]:
    """A connection over which something has been asked for."""
    with closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        yield connection


def until_waiting(client: Client, count: int) -> None:
    """Return once so many wait for an order."""
    waiting = client.engine._need().context.waiters._waiting
    while sum(len(replies) for replies in list(waiting.values())) < count:
        time.sleep(0.001)


@pytest.mark.parametrize("change", ["revoked", "bound to another user", "of another role"])
def test_a_wait_ends_with_its_key(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder, keys: Path, change: str
) -> None:
    key, other = create_key(keys, [Role.OPERATE], "u-1"), create_key(keys, [Role.OPERATE])
    client = start_server(gate, keys_file=str(keys))
    client.send_json("POST", "/orders", order(), {"Authorization": f"Bearer {other}"})
    gate.begun()

    with (
        asked(client.address, "/orders/o-1?wait=30", key) as ours,
        asked(client.address, "/orders/o-1?wait=30", other) as others,
    ):
        until_waiting(client, 2)
        if change == "revoked":
            revoke_key(keys, id_of(key))
        elif change == "of another role":
            keys.write_text(keys.read_text().replace('"operate"', '"submit"', 1))
        else:
            keys.write_text(keys.read_text().replace('"u-1"', '"u-2"'))
        with ours.getresponse() as ended:
            assert (ended.status, b"Processing" in ended.read()) == (401, False)
        gate.release()
        with others.getresponse() as told:
            assert (told.status, json.loads(told.read())["status"]) == (200, "Completed")


def test_waits_end_where_nobody_knows_any_more_which_keys_are_good(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(keys, [Role.OPERATE])
    client = start_server(gate, keys_file=str(keys))
    client.send_json("POST", "/orders", order(), {"Authorization": f"Bearer {key}"})

    with asked(client.address, "/orders/o-1?wait=30", key) as ours:
        until_waiting(client, 1)
        monkeypatch.setattr("ordermill.http.security.keyring.GRACE_SECONDS", 0)
        keys.write_text("nonsense")
        with ours.getresponse() as ended:
            assert ended.status == 401


class Silent(Stream):
    """A stream that waits for ever."""

    def __init__(self) -> None:
        self.was_closed = threading.Event()
        self._has_begun = False

    def next(self) -> bytes | Deferred[bytes | None]:
        if not self._has_begun:
            self._has_begun = True
            return b"begin\n"
        reply: Reply[None] = Reply()
        return Deferred(reply, lambda: b"", lambda: answer(reply, None))

    def close(self) -> None:
        self.was_closed.set()


class Busy(Silent):
    """A stream that always has something."""

    def next(self) -> bytes:
        return b"more\n"


@pytest.mark.parametrize("kind", [Silent, Busy])
def test_an_answer_that_goes_on_ends_with_its_key(kind: type[Silent], keys: Path) -> None:
    key = create_key(keys, [Role.READ])
    stream = kind()
    protection = Protection(Authenticator(Keyring(keys)))
    facade = Facade((Route("GET", "/stream", lambda _: Response(stream), READING),), protection, {})
    server = HttpServer({"": facade}, ServerConfig.of({"port": 0}))
    server.prepare()
    thread = threading.Thread(target=server.start)
    thread.start()
    try:
        with asked(server.address, "/stream", key) as connection, connection.getresponse() as response:
            assert response.readline()
            revoke_key(keys, id_of(key))
            while response.read1(65536):
                pass
        assert stream.was_closed.wait(timeout=60)
    finally:
        server.stop()
        thread.join()


def test_what_was_done_is_told_though_the_key_was_revoked_meanwhile(
    start_server: Callable[..., Client], order: MakeOrder, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(keys, [Role.SUBMIT])
    client = start_server(keys_file=str(keys))
    monkeypatch.setattr(Authenticator, "still_admits", lambda *_: False)

    assert client.send_json("POST", "/orders", order(), {"Authorization": f"Bearer {key}"}).status == 201
    assert list(read_keys(keys)) == [id_of(key)]
