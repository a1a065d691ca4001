"""The calls about orders."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from ...engine import (
    Engine,
    EngineStopped,
    FieldFault,
    IdempotencyKey,
    InvalidOrder,
    Order,
    OrderNotFound,
    OrderRecord,
    OrderStatus,
    Outcome,
    Reply,
    TransitionRefused,
)
from ...engine.reply import answer
from ...store.domain.outcome import Acceptance, Promise, error_of
from ..framework.body import B
from ..framework.deferred import Deferred
from ..framework.parameters import NoParameters
from ..framework.request import PlainRequest, Request
from ..framework.request_headers import RequestHeaders
from ..framework.response import Response
from ..framework.slices import in_slices
from ..security.access import Principal
from ..security.rate_limit import UserRateLimiter
from ..wire.conditional import matches, preferred_wait
from ..wire.errors import ContentTooLarge, IdempotencyKeyBusy, KeyNotEnough, NotJson
from ..wire.headers import ASK_AGAIN, Headers
from ..wire.idempotency_key import read_idempotency_key
from ..wire.message import BodyContent
from . import requests, responses
from .parameters import (
    MAX_WAIT_SECONDS,
    FailuresQuery,
    HistoryQuery,
    OrderQuery,
    PageQuery,
    ReadHeaders,
    SubmitHeaders,
    order_filter,
)
from .requests import MAX_BULK, MAX_EXPLAINED, MoveRequest, RescheduleRequest, SettleRequest
from .responses import (
    REJECTED,
    BulkResult,
    FailuresPayload,
    PagePayload,
    StatusPayload,
    confidence_in,
    encode,
    entity_tag,
    failure_group_payload,
    order_payload,
)
from .waiting_places import WaitingPlaces

MAX_PAGE_BYTES = 1024 * 1024
"""Of a page of orders, before it is compressed: no further ones are added beyond that."""

_CREATED = HTTPStatus.CREATED  # to look it up in the enumeration takes longer than to write the answer's first line
_READ_AT_ONCE = 25
_RESTS = 3

Submission: TypeAlias = Request[NoParameters, SubmitHeaders, B]
Reading: TypeAlias = Request[OrderQuery, ReadHeaders, None]
Moving: TypeAlias = Request[NoParameters, RequestHeaders, B]
AnyRequest: TypeAlias = Request[Any, Any, Any]


class OrderCalls:
    """Submitting, reading and moving orders.

    Args:
        engine: running.
        max_waiting: requests that may wait for an order at the same time; a further one is answered at once.
        user_rate: how fast each user may send orders.
    """

    def __init__(self, engine: Engine, max_waiting: int, user_rate: UserRateLimiter) -> None:
        self._engine = engine
        self._user_rate = user_rate
        self._in_flight: dict[tuple[str, str], Submission[Any]] = {}
        self._waiting = WaitingPlaces(max_waiting)
        self._reserved_ids: frozenset[str] = frozenset()

    def reserve(self, order_ids: frozenset[str]) -> None:
        """Take no orders of these ids, which are words of the API's own paths: nobody could ever ask for them."""
        self._reserved_ids = order_ids

    def submit(self, request: Submission[Order]) -> Deferred[Response]:
        """Accept an order: 201 when it is new, 200 when the very same order was sent before."""
        order = self._checked(request.body)
        request.order_id = order.order_id
        if not request.principal.may_see(order.user_id):
            raise KeyNotEnough(f"This key is good for the orders of user {request.principal.user_id!r} only.")
        headers = self._user_rate.consume({order.user_id: 1})
        accepted = self._begin_submit(request, (order,))
        return Deferred(accepted, lambda: _submitted(accepted.get(), request.principal, headers))

    def submit_bulk(self, request: Submission[list[BodyContent | msgspec.Raw]]) -> Deferred[Response]:
        """Accept many orders in one transaction; a bad one does not keep the others out."""
        lines = request.body
        if len(lines) > MAX_BULK:
            raise ContentTooLarge(f"{len(lines)} orders were sent; send {MAX_BULK} at the most at once.")
        read: list[Order | BulkResult] = []
        faulty = 0
        for line in in_slices(lines, requests.RESTS):
            read.append(self._read(line, request.principal, is_explained=faulty < MAX_EXPLAINED))
            faulty += isinstance(read[-1], BulkResult)
        orders = [order for order in read if isinstance(order, Order)]
        headers = self._user_rate.consume(Counter(order.user_id for order in orders))
        accepted = self._begin_submit(request, orders)
        return Deferred(accepted, lambda: _submitted_bulk(read, accepted.get(), request.principal, headers))

    def _checked(self, order: Order) -> Order:
        if order.order_id in self._reserved_ids:
            detail = f"must not be {order.order_id!r}, a word of the API's own paths: nobody could ask for the order"
            raise InvalidOrder((FieldFault("/order_id", detail),))
        return order

    def _read(self, line: BodyContent | msgspec.Raw, principal: Principal, *, is_explained: bool) -> Order | BulkResult:
        try:
            order = self._checked(requests.decode_order(line, is_explained=is_explained))
            if principal.may_see(order.user_id):
                return order
            return BulkResult(order.order_id, REJECTED, "the key is good for the orders of its own user only")
        except (InvalidOrder, NotJson) as error:
            return BulkResult(requests.order_id_of(line), REJECTED, str(error))

    def _begin_submit(self, request: Submission[Any], orders: Sequence[Order]) -> Reply[list[Acceptance]]:
        key = request.headers.idempotency_key
        if key is UNSET:
            return self._engine.begin_submit(orders, request.cause)
        user_id, fingerprint = request.principal.user_id or "", sha256(request.content).hexdigest()
        given = IdempotencyKey(read_idempotency_key(key), user_id, fingerprint)
        name = (given.user_id, given.key)
        if self._in_flight.setdefault(name, request) is not request:
            raise IdempotencyKeyBusy
        try:
            accepted = self._engine.begin_submit(orders, request.cause, given)
        except BaseException:
            del self._in_flight[name]
            raise
        accepted.when_done(lambda: self._in_flight.pop(name))
        return accepted

    def read(self, request: Reading) -> Response | Deferred[Response]:
        """An order; with `wait`, or where the client prefers to wait, as soon as processing is over for it."""
        seconds = request.query.wait
        headers: Headers = ()
        if seconds is UNSET and (preferred := preferred_wait(request.headers.prefer or "")) is not None:
            seconds = min(preferred, MAX_WAIT_SECONDS)
            headers = (("Preference-Applied", f"wait={seconds}"),)
        deadline = None if seconds is UNSET else time.monotonic() + seconds
        return self._look(request, deadline, headers)

    def _look(self, request: Reading, deadline: float | None, headers: Headers) -> Response | Deferred[Response]:
        record = self._find(request)
        seconds = 0.0 if deadline is None else deadline - time.monotonic()
        caller = request.principal.key_id
        if seconds <= 0 or record.status.is_terminal or not self._waiting.take(caller):
            return _show(record, headers, if_none_match=request.headers.if_none_match or "")
        try:
            moved = self._engine.begin_wait(record.order_id, seconds)
        except BaseException:
            self._waiting.give_back(caller)
            raise
        moved.when_done(lambda: self._waiting.give_back(caller))

        is_hurried = False

        def hurry() -> None:
            nonlocal is_hurried
            is_hurried = True
            answer(moved, None)

        def look_again() -> Response | Deferred[Response]:
            try:
                moved.get()
            except EngineStopped:  # it is not over, and will not be while this server lives
                return self._look(request, None, headers)
            return self._look(request, None if is_hurried else deadline, headers)

        return Deferred(moved, look_again, hurry)

    def read_status(self, request: PlainRequest) -> Response:
        """Where an order is."""
        return Response(encode(StatusPayload(request.order_id, self._find(request).status)))

    def read_history(self, request: Request[HistoryQuery, RequestHeaders, None]) -> Response:
        """How an order got there, oldest first, a page at a time."""
        after = requests.decode_cursor(request.query.cursor) if request.query.cursor else None
        page = self._engine.history_page(self._visible(request), after, request.query.limit)
        return Response(encode(responses.history_payload(request.order_id, page)))

    def read_outlook(self, request: PlainRequest) -> Deferred[Response]:
        """Where an order is in the queue, why it waits, and when it is likely to be over."""
        told = self._engine.begin_outlook(self._visible(request))
        return Deferred(told, lambda: Response(encode(responses.outlook_payload(told.get()))))

    def list(self, request: Request[PageQuery, RequestHeaders, None]) -> Response:
        """Orders, newest first, a page at a time."""
        query = request.query
        user_id = query.user_id or request.principal.user_id
        if user_id is not None and not request.principal.may_see(user_id):
            return Response(encode(PagePayload([], None)))
        wanted = msgspec.structs.replace(order_filter(query), user_id=user_id)
        before = requests.decode_cursor(query.cursor) if query.cursor else None
        orders: list[bytes] = []
        # A few at a time: orders may have many items, and whatever is made in one go holds up all others.
        while (room := min(query.limit - len(orders), _READ_AT_ONCE)) and sum(map(len, orders)) < MAX_PAGE_BYTES:
            page = self._engine.order_page(wanted, before, room)
            orders += (encode(order_payload(record)) for record in in_slices(page.orders, _RESTS))
            before = page.before
            if before is None or len(page.orders) < room:
                break
        cursor = None if before is None else responses.encode_cursor(before)
        return Response(responses.encode_page(orders, cursor))

    def list_failures(self, request: Request[FailuresQuery, RequestHeaders, None]) -> Response:
        """What orders have failed with, or wait for their next attempt after: the error of most of them first."""
        groups = self._engine.failures(request.query.limit)
        return Response(encode(FailuresPayload([failure_group_payload(group) for group in groups])))

    def cancel(self, request: Moving[MoveRequest]) -> Deferred[Response]:
        """Cancel an order that is Pending."""
        wanted = request.body
        cancelled = self._engine.begin_cancel(self._visible(request), wanted.reason or None, request.cause)
        if request.principal.may_read:
            return _moved(cancelled)
        return Deferred(cancelled, lambda: _cancelled_unseen(cancelled))

    def retry(self, request: Moving[MoveRequest]) -> Deferred[Response]:
        """Have an order that is Failed, in Review, or waits for its next attempt handled at once."""
        wanted = request.body
        return _moved(self._engine.begin_retry(self._visible(request), wanted.reason or None, request.cause))

    def settle(self, request: Moving[SettleRequest]) -> Deferred[Response]:
        """End the Review of an order."""
        wanted = request.body
        order_id = self._visible(request)
        return _moved(self._engine.begin_settle(order_id, wanted.status, wanted.reason or None, request.cause))

    def reschedule(self, request: Moving[RescheduleRequest]) -> Deferred[Response]:
        """Change when an order's turn comes that is not begun."""
        wanted = request.body
        order_id = self._visible(request)
        return _moved(self._engine.begin_reschedule(order_id, wanted.schedule, wanted.reason or None, request.cause))

    def _visible(self, request: AnyRequest) -> str:
        # Whose an order is never changes: what is looked up here holds when the order is moved.
        return request.order_id if request.principal.user_id is None else self._find(request).order_id

    def _find(self, request: AnyRequest) -> OrderRecord:
        record = self._engine.order(request.order_id)
        if not request.principal.may_see(record.order.user_id):
            raise OrderNotFound(request.order_id)
        return record


def _show(
    record: OrderRecord,
    headers: Headers = (),
    status: HTTPStatus = HTTPStatus.OK,
    if_none_match: str = "",
    promise: Promise | None = None,
) -> Response:
    tag = entity_tag(record)
    headers = (*headers, ("ETag", tag))
    if if_none_match and matches(if_none_match, tag):
        return Response(b"", HTTPStatus.NOT_MODIFIED, headers, policy=ASK_AGAIN)
    return Response(encode(order_payload(record, promise)), status, headers, policy=ASK_AGAIN)


def _submitted(acceptances: Sequence[Acceptance], principal: Principal, headers: Headers) -> Response:
    (acceptance,) = acceptances
    record = acceptance.record
    if acceptance.outcome is Outcome.ACCEPTED:
        headers = (*headers, ("Location", f"/orders/{record.order.order_id}"))
        return _show(record, headers, _CREATED, promise=acceptance.promise)
    if (error := error_of(acceptance, is_visible=principal.may_see(record.order.user_id))) is not None:
        raise error
    return _show(record if principal.may_read else _as_accepted(record), headers)


def _as_accepted(record: OrderRecord) -> OrderRecord:
    """What whoever has sent an order knows of it: as it was at first, wherever it is by now."""
    at_us = record.created_us
    return OrderRecord(record.order, record.sequence, OrderStatus.PENDING, 0, 0, at_us, at_us, at_us)


def _cancelled_unseen(reply: Reply[OrderRecord]) -> Response:
    """The answer to whoever may cancel an order, and not know where it is otherwise."""
    try:
        record = reply.get()
    except TransitionRefused as error:
        raise TransitionRefused(error.order_id, None, OrderStatus.CANCELLED) from None
    known = msgspec.structs.replace(
        _as_accepted(record), status=OrderStatus.CANCELLED, updated_us=record.updated_us, ready_us=None
    )
    return _show(known)


def _submitted_bulk(
    read: list[Order | BulkResult], acceptances: Iterable[Acceptance], principal: Principal, headers: Headers
) -> Response:
    remaining = iter(acceptances)
    results = []
    for entry in read:
        if isinstance(entry, BulkResult):
            results.append(entry)
            continue
        acceptance = next(remaining)
        outcome, record = acceptance
        if outcome is Outcome.CONFLICT:
            is_visible = principal.may_see(record.order.user_id)
            detail = "an order of this id exists with other content" if is_visible else "the id is taken"
            results.append(BulkResult(entry.order_id, REJECTED, detail))
        elif (error := error_of(acceptance)) is not None:
            results.append(BulkResult(entry.order_id, REJECTED, str(error)))
        else:
            results.append(
                BulkResult(entry.order_id, outcome, complete_by_confidence=confidence_in(acceptance.promise))
            )
    return Response(encode(responses.bulk_payload(results)), headers=headers)


def _moved(reply: Reply[OrderRecord]) -> Deferred[Response]:
    return Deferred(reply, lambda: _show(reply.get()))
