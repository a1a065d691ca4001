"""A route: what it takes of a body, and what it lets go of when its handler has returned or failed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ordermill.http.framework.body import Body, BodyFormat
from ordermill.http.framework.parameters import NoParameters
from ordermill.http.framework.request import Inputs, Request
from ordermill.http.framework.request_headers import RequestHeaders
from ordermill.http.framework.response import Response
from ordermill.http.framework.route import AnyRoute, Operation, Route, Tag
from ordermill.http.security.access import PUBLIC
from ordermill.http.wire.errors import InvalidParameter
from ordermill.http.wire.message import WireRequest

BODY = Body({"application/json": BodyFormat(list, [], msgspec.json.decode)})
OPERATION = Operation("send", Tag.ORDERS, Inputs(NoParameters, RequestHeaders, BODY), ())


def route(handler: Any) -> AnyRoute:
    return Route("POST", "/things", handler, PUBLIC, OPERATION)


def request(query: str = "") -> Request[Any, Any, Any]:
    return Request(WireRequest("POST", "/things", query, {"Content-Type": "application/json"}), b"[1, 2]", {})


def test_the_handler_has_the_body_and_nobody_has_it_afterwards() -> None:
    sent = request()

    assert route(lambda sent: Response(repr(sent.body).encode())).answer(sent).body == b"[1, 2]"
    assert not hasattr(sent, "body")
    assert not hasattr(sent, "content")


def test_a_handler_that_fails_leaves_no_body_behind() -> None:
    sent = request()

    with pytest.raises(ZeroDivisionError):
        route(lambda _: 1 / 0).answer(sent)
    assert not hasattr(sent, "body")
    assert not hasattr(sent, "content")


def test_no_handler_is_called_for_what_cannot_be_read() -> None:
    called: list[object] = []

    with pytest.raises(InvalidParameter):
        route(called.append).answer(request("limit=3"))
    assert called == []


def test_a_body_is_taken_as_far_as_its_operation_takes_one() -> None:
    assert route(Response).max_body_bytes == BODY.limit > 0
    assert Route("GET", "/", Response, PUBLIC).max_body_bytes == 0


def test_every_group_says_what_belongs_in_it() -> None:
    assert len({tag.about for tag in Tag}) == len(Tag)
