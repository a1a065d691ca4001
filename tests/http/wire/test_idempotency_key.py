"""The Idempotency-Key header: read strictly, good for one request, over all of a user's calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine.actors.recorder import RecorderActor
from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.wire.errors import MalformedRequest
from ordermill.http.wire.idempotency_key import read_idempotency_key

if TYPE_CHECKING:
    from tests.http.conftest import Client, Reply

MakeOrder = Callable[..., dict[str, Any]]
KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'


def post(client: Client, content: object, key: str = KEY, path: str = "/orders", **headers: str) -> Reply:
    """POST under an idempotency key."""
    return client.send_json("POST", path, content, {"Idempotency-Key": key, **headers})


def kind(reply: Reply) -> tuple[int, str]:
    """The status, and which problem it is."""
    return reply.status, reply.json["type"].rpartition(":")[2]


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"k"', "k"),
        ("k", "k"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('"a b"', "a b"),
        (r'"a\"b\\c"', r"a\"b\c".replace('\\"', '"')),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_a_string_or_a_word(header: str, key: str) -> None:
    assert read_idempotency_key(header) == key


@pytest.mark.parametrize(
    "header", ["", '""', '"', '"a', 'a"', "a b", '"a", "b"', "a, b", '"a";q=1', r'"a\b"', '"ü"', '"' + "x" * 256 + '"']
)
def test_anything_else_is_refused(header: str) -> None:
    with pytest.raises(MalformedRequest, match="1 to 255 visible characters"):
        read_idempotency_key(header)


def test_the_same_request_again_is_answered_and_stored_once(client: Client, order: MakeOrder) -> None:
    first, again = post(client, order()), post(client, order())

    assert (first.status, again.status) == (201, 200)
    assert again.json["order_id"] == "o-1"
    assert len(client.engine.orders()) == 1


@pytest.mark.parametrize("path", ["/orders", "/orders/bulk"])
def test_another_request_under_the_key_is_422_and_changes_nothing(client: Client, order: MakeOrder, path: str) -> None:
    post(client, order())

    reply = post(client, order("o-2") if path == "/orders" else [order("o-2")], path=path)

    assert kind(reply) == (422, "idempotency-key-reused")
    assert client.get("/orders/o-2").status == 404


def test_a_bulk_has_a_key_too(client: Client, order: MakeOrder) -> None:
    sent = [order("o-1"), order("o-2")]

    outcomes = [
        [result["outcome"] for result in post(client, sent, path="/orders/bulk").json["results"]] for _ in range(2)
    ]

    assert outcomes == [["accepted"] * 2, ["duplicate"] * 2]
    assert kind(post(client, sent[:1], path="/orders/bulk")) == (422, "idempotency-key-reused")


def test_a_request_that_was_faulty_uses_up_no_key(client: Client, order: MakeOrder) -> None:
    assert post(client, order(item_ids=[])).status == 422

    assert post(client, order()).status == 201


def test_a_malformed_key_is_named(client: Client, order: MakeOrder) -> None:
    reply = post(client, order(), key='"a", "b"')

    assert kind(reply) == (400, "malformed-request")
    assert reply.json["errors"][0]["pointer"] == "/header/Idempotency-Key"


def test_while_a_request_is_answered_another_of_its_key_is_409(
    client: Client, order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Any] = []
    receive = RecorderActor.receive

    def hold(self: RecorderActor, message: Any) -> None:
        waiting.append((self, message))

    monkeypatch.setattr(RecorderActor, "receive", hold)
    with closing(HTTPConnection(*client.address, timeout=60)) as connection:
        headers = {"Content-Type": "application/json", "Idempotency-Key": KEY}
        connection.request("POST", "/orders", json.dumps(order()), headers)
        # A request of another key is answered by the recorder too: the connection before it has been served by then.
        assert client.get("/healthz").status == 200
        while not any(getattr(message, "idempotency", None) for _, message in waiting):
            assert client.get("/healthz").status == 200
        beside = post(client, order())
        monkeypatch.setattr(RecorderActor, "receive", receive)
        for actor, message in waiting:
            actor.actor_ref.tell(message)
        first = connection.getresponse()
        first.read()

    assert kind(beside) == (409, "idempotency-key-busy")
    assert beside.headers["Retry-After"] == "1"
    assert first.status == 201
    assert post(client, order()).status == 200


def test_users_with_keys_of_their_own_do_not_get_in_each_others_way(
    start_server: Callable[..., Client], order: MakeOrder, tmp_path: Path
) -> None:
    first, second = (create_key(tmp_path / "keys", [Role.SUBMIT], user) for user in ("u-1", "u-2"))
    client = start_server(keys_file=str(tmp_path / "keys"))

    replies = [
        post(client, order("o-1", user_id="u-1"), Authorization=f"Bearer {first}"),
        post(client, order("o-2", user_id="u-2"), Authorization=f"Bearer {second}"),
        post(client, order("o-3", user_id="u-1"), Authorization=f"Bearer {first}"),
    ]

    assert [reply.status for reply in replies] == [201, 201, 422]


def test_without_a_key_nothing_is_kept(client: Client, order: MakeOrder, sql: Callable[[str], list[Any]]) -> None:
    client.post("/orders", order())

    assert sql("SELECT * FROM idempotency_keys") == []
