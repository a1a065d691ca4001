"""How deep JSON may be nested: the same on every interpreter, whatever the stack holds."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from ordermill.http.wire.nesting import MAX_DEPTH, NestedTooDeeply, check_depth

if TYPE_CHECKING:
    from tests.http.conftest import Client


def nested(depth: int, inside: str = "1") -> str:
    """Lists and objects in turn, one inside another."""
    pairs = [("[", "]") if level % 2 else ('{"a":', "}") for level in range(depth)]
    return "".join(left for left, _ in pairs) + inside + "".join(right for _, right in reversed(pairs))


@pytest.mark.parametrize(
    "body",
    [
        "",
        nested(MAX_DEPTH),
        nested(MAX_DEPTH, '"' + "[{" * 100 + '"'),
        nested(MAX_DEPTH, r'"\"[\\"'),
        "[" + ",".join([nested(MAX_DEPTH - 1)] * 100) + "]",
        "]" * 100,
        '"' + "[" * 100,
    ],
)
def test_what_is_nested_as_deep_as_may_be_passes(body: str) -> None:
    check_depth(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        nested(MAX_DEPTH + 1),
        "[" * (MAX_DEPTH + 1),
        "[" + ",".join(["1", nested(MAX_DEPTH)]) + "]",
        '["]",' * (MAX_DEPTH + 1),  # a bracket in a string closes nothing
        r'["\"]",' * (MAX_DEPTH + 1),
        r'["\\","]",' * (MAX_DEPTH + 1),
    ],
)
def test_what_is_nested_deeper_is_refused(body: str) -> None:
    with pytest.raises(NestedTooDeeply, match=f"nested more than {MAX_DEPTH} deep"):
        check_depth(body.encode())


@pytest.mark.parametrize("body", [b"[" * 2**20, b"[]" * 2**19, b'"' * 2**20, b'"\\' * 2**19, b'["' * 2**19])
def test_the_time_grows_with_the_length_alone(body: bytes) -> None:
    def seconds(times: int) -> float:
        began = time.process_time()
        with suppress(NestedTooDeeply):
            check_depth(body * times)
        return time.process_time() - began

    assert min(seconds(4) for _ in range(3)) < 20 * max(min(seconds(1) for _ in range(3)), 1e-3)


@pytest.mark.parametrize("path", ["/orders", "/orders/o-1/settle"])
def test_a_body_that_is_nested_too_deeply_is_no_json(client: Client, path: str) -> None:
    reply = client.post_text(nested(MAX_DEPTH + 1), path)

    assert (reply.status, reply.json["type"]) == (400, "urn:ordermill:problem:not-json")
    assert f"it is nested more than {MAX_DEPTH} deep" in reply.json["detail"]
    assert client.post_text(nested(MAX_DEPTH), "/orders").status == 422


def test_an_element_that_is_nested_too_deeply_is_rejected_alone(client: Client) -> None:
    order = '{"order_id":"o-1","user_id":"u-1","item_ids":["sku-1"],"total_amount":"1"}'
    reply = client.post_text(f"[{nested(MAX_DEPTH + 1)},{order}]", "/orders/bulk")

    assert (reply.json["accepted"], reply.json["rejected"]) == (1, 1)
    assert f"it is nested more than {MAX_DEPTH} deep" in reply.json["results"][0]["detail"]


def test_a_line_that_is_nested_too_deeply_is_rejected_alone(client: Client) -> None:
    order = '{"order_id":"o-1","user_id":"u","item_ids":["s"],"total_amount":"1.00"}'
    deep = order.replace("o-1", "o-2").replace('"s"', nested(MAX_DEPTH))

    results = client.post_text(f"{deep}\n{order}", "/orders/bulk", "application/x-ndjson").json["results"]

    assert [result["outcome"] for result in results] == ["rejected", "accepted"]
