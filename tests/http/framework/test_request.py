"""A request is read by what its operation takes, and lets go of its body when the handler has returned."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET, UnsetType

from ordermill.http.framework.body import Body, BodyFormat
from ordermill.http.framework.request import NOTHING, Inputs, Request
from ordermill.http.framework.response import Response
from ordermill.http.framework.route import Operation, Route, Tag
from ordermill.http.security.access import PUBLIC
from ordermill.http.wire.errors import InvalidParameter
from ordermill.http.wire.message import WireRequest


class Query(msgspec.Struct, frozen=True):
    """The parameters of an operation that there is not."""

    limit: int = 7


class Headers(msgspec.Struct, frozen=True, rename={"if_match": "If-Match"}):
    """The headers of one."""

    if_match: str | UnsetType = UNSET


INPUTS = Inputs(Query, Headers, Body({"application/json": BodyFormat(list, [], msgspec.json.decode)}))


def wire(query: str = "", **fields: str) -> WireRequest:
    return WireRequest("POST", "/orders/o-1", query, {"Content-Type": "application/json", **fields})


def test_what_the_operation_declares_is_read() -> None:
    request = Request[Query, Headers, list[int]](wire("limit=3", **{"If-Match": '"a"'}), b"[1]", {"order_id": "o-1"})

    request.read(INPUTS)

    assert (request.query, request.headers) == (Query(3), Headers('"a"'))
    assert (request.body, request.content) == ([1], b"[1]")
    assert (request.order_id, request.path) == ("o-1", {"order_id": "o-1"})


def test_what_is_left_out_has_its_default() -> None:
    request = Request[Query, Headers, list[int]](wire(), b"[1]", {})

    request.read(INPUTS)

    assert (request.query, request.headers, request.order_id) == (Query(7), Headers(UNSET), "")


def test_a_request_to_a_route_without_an_operation_takes_nothing() -> None:
    route = Route("GET", "/", lambda request: Response(repr(request.body).encode()), PUBLIC)

    assert route.answer(Request(wire(), b"[1]", {})).body == b"None"
    with pytest.raises(InvalidParameter, match="known: none"):
        Request(wire("limit=3"), b"[1]", {}).read(NOTHING)


def test_the_body_is_let_go_of_when_the_handler_has_returned() -> None:
    seen = []
    operation = Operation("send", Tag.ORDERS, INPUTS, results=())
    route = Route("POST", "/", lambda request: (seen.append(request.body), Response(b""))[1], PUBLIC, operation)
    request = Request[Query, Headers, list[int]](wire(), b"[1]", {})

    route.answer(request)

    assert seen == [[1]]
    assert not hasattr(request, "body")
    assert not hasattr(request, "content")
