"""Many orders in one request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.http.loop_engine import LoopEngine

if TYPE_CHECKING:
    from tests.http.conftest import Client

    MakeOrder = Callable[..., dict[str, Any]]

NDJSON = "application/x-ndjson"
AMOUNT_FAULT = "/total_amount: must be a decimal amount from 0 to 9999999999.99 with at most two fraction digits"


@pytest.fixture
def mixed(order: MakeOrder) -> list[str]:
    """Good and bad lines: o-1 is there already, o-2 is there with other content."""
    return [
        json.dumps(order("o-3")),
        json.dumps(order("o-1")),
        json.dumps(order("o-4", total_amount=1.999)),
        json.dumps(order("o-2", user_id="u-2")),
        json.dumps(order("o-3")),
        json.dumps(order("o-3", user_id="u-3")),
        json.dumps({"order_id": "o-5", "status": "Completed"}),
        json.dumps(["o-6"]),
        json.dumps({"user_id": "u-1"}),
        json.dumps(order("o-7", total_amount=0)),
    ]


CONFLICT = "an order of this id exists with other content"
RESULTS = [
    {"order_id": "o-3", "outcome": "accepted"},
    {"order_id": "o-1", "outcome": "duplicate"},
    {"order_id": "o-4", "outcome": "rejected", "detail": AMOUNT_FAULT},
    {"order_id": "o-2", "outcome": "rejected", "detail": CONFLICT},
    {"order_id": "o-3", "outcome": "duplicate"},
    {"order_id": "o-3", "outcome": "rejected", "detail": CONFLICT},
    {
        "order_id": "o-5",
        "outcome": "rejected",
        "detail": "/status: unknown field; /user_id: missing; /item_ids: missing; /total_amount: missing",
    },
    {"order_id": None, "outcome": "rejected", "detail": "order: must be a JSON object"},
    {
        "order_id": None,
        "outcome": "rejected",
        "detail": "/order_id: missing; /item_ids: missing; /total_amount: missing",
    },
    {"order_id": "o-7", "outcome": "accepted"},
]
COUNTS = {"accepted": 2, "duplicates": 2, "rejected": 6}


@pytest.mark.parametrize("media_type", ["application/json", NDJSON])
def test_each_line_gets_its_result_and_a_bad_one_spoils_no_other(
    client: Client, order: MakeOrder, mixed: list[str], media_type: str
) -> None:
    client.post("/orders", order("o-1"))
    client.post("/orders", order("o-2"))
    body = "\n".join(mixed) if media_type == NDJSON else f"[{','.join(mixed)}]"

    reply = client.post_text(body, "/orders/bulk", media_type)

    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json == COUNTS | {"results": RESULTS}
    client.engine.drain(timeout=30)
    stored = client.get("/orders").json["orders"]
    assert [(it["order_id"], it["user_id"], it["status"]) for it in stored] == [
        ("o-7", "u-1", "Completed"),
        ("o-3", "u-1", "Completed"),
        ("o-2", "u-1", "Completed"),
        ("o-1", "u-1", "Completed"),
    ]


def test_a_line_that_is_not_json_is_rejected_alone(client: Client, order: MakeOrder) -> None:
    lines = [json.dumps(order("o-1")).encode(), b'{"order_id": "o-2"', b"\xff\xfe", json.dumps(order("o-3")).encode()]

    reply = client.post_text(b"\n".join(lines), "/orders/bulk", NDJSON).json

    assert [reply["accepted"], reply["duplicates"], reply["rejected"]] == [2, 0, 2]
    assert [result["outcome"] for result in reply["results"]] == ["accepted", "rejected", "rejected", "accepted"]
    for result in reply["results"][1:3]:
        assert result["order_id"] is None
        assert result["detail"].startswith("The body is not valid JSON: ")


def test_blank_lines_are_skipped_and_line_ends_may_be_of_any_kind(client: Client, order: MakeOrder) -> None:
    one, two, three = (json.dumps(order(f"o-{number}")) for number in (1, 2, 3))

    reply = client.post_text(f"\n\n{one}\r\n \t \n{two}\n\n{three}\n\n", "/orders/bulk", NDJSON).json

    assert [result["order_id"] for result in reply["results"]] == ["o-1", "o-2", "o-3"]
    assert reply["accepted"] == 3


@pytest.mark.parametrize(("body", "media_type"), [("[]", "application/json"), ("", NDJSON), ("\n \n", NDJSON)])
def test_a_bulk_of_nothing_is_fine(client: Client, body: str, media_type: str) -> None:
    reply = client.post_text(body, "/orders/bulk", media_type)

    assert (reply.status, reply.json) == (200, {"accepted": 0, "duplicates": 0, "rejected": 0, "results": []})


@pytest.mark.parametrize("media_type", ["application/json", NDJSON])
def test_ten_thousand_orders_are_taken_at_once(client: Client, order: MakeOrder, media_type: str) -> None:
    lines = [json.dumps(order(f"o-{number}")) for number in range(10_000)]
    body = "\n".join(lines) if media_type == NDJSON else f"[{','.join(lines)}]"

    reply = client.post_text(body, "/orders/bulk", media_type)

    assert reply.status == 200
    assert [reply.json["accepted"], reply.json["duplicates"], reply.json["rejected"]] == [10_000, 0, 0]
    assert [result["order_id"] for result in reply.json["results"]] == [f"o-{number}" for number in range(10_000)]


@pytest.mark.parametrize("media_type", ["application/json", NDJSON])
def test_one_more_is_too_many_and_none_is_stored(client: Client, order: MakeOrder, media_type: str) -> None:
    lines = [json.dumps(order())] + ["{}"] * 10_000
    body = "\n".join(lines) if media_type == NDJSON else f"[{','.join(lines)}]"

    reply = client.post_text(body, "/orders/bulk", media_type)

    assert (reply.status, reply.json["type"]) == (413, "urn:ordermill:problem:content-too-large")
    assert reply.json["detail"] == "10001 orders were sent; send 10000 at the most at once."
    assert client.get("/orders/o-1").status == 404


@pytest.mark.parametrize(
    "body",
    ["", "{", '{"orders": []}', '"o-1"', "[1,]", "[{}", "null", "\xff", pytest.param("[" * 100_000, id="deep")],
)
def test_a_body_that_is_no_array_is_not_json(client: Client, body: str) -> None:
    reply = client.post_text(body.encode("latin-1"), "/orders/bulk")

    assert (reply.status, reply.json["type"]) == (400, "urn:ordermill:problem:not-json")
    assert reply.json["detail"].endswith("; a bulk is a JSON array of orders, or NDJSON with one order a line.")


def test_a_bulk_is_one_transaction(client: Client, order: MakeOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    begin_submit = LoopEngine.begin_submit

    def count(engine: LoopEngine, orders: Any, *more: Any) -> Any:
        batches.append(len(orders))
        return begin_submit(engine, orders, *more)

    monkeypatch.setattr(LoopEngine, "begin_submit", count)
    client.post("/orders/bulk", [order("o-1"), {}, order("o-2"), order("o-3")])

    assert batches == [3]


def test_lines_behind_a_byte_order_mark_are_taken(client: Client, order: MakeOrder) -> None:
    lines = "\ufeff" + "\n".join(json.dumps(order(f"o-{number}")) for number in range(2))

    reply = client.post_text(lines, "/orders/bulk", "application/x-ndjson")

    assert (reply.status, reply.json["accepted"]) == (200, 2)


def test_utf_16_is_refused_by_its_name(client: Client, order: MakeOrder) -> None:
    reply = client.post_text(json.dumps(order()).encode("utf-16"), "/orders/bulk", "application/x-ndjson")

    assert (reply.status, reply.json["type"]) == (400, "urn:ordermill:problem:not-json")
    assert "byte order mark of UTF-16" in reply.json["detail"]


def test_an_order_whose_id_is_a_word_of_a_path_is_rejected_and_keeps_no_other_out(
    client: Client, order: MakeOrder
) -> None:
    answer = client.post("/orders/bulk", [order("bulk"), order("o-1")]).json

    assert [(result["order_id"], result["outcome"]) for result in answer["results"]] == [
        ("bulk", "rejected"),
        ("o-1", "accepted"),
    ]
    assert "a word of the API's own paths" in answer["results"][0]["detail"]
