"""The calls about orders."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from ..engine import (
    Desk,
    EngineStopped,
    InvalidOrder,
    Order,
    OrderConflict,
    OrderNotFound,
    OrderRecord,
    OrderStatus,
    Outcome,
    Reply,
)
from ..store.ledger import Acceptance
from ..store.order import IDENTIFIER, IDENTIFIER_RULE
from . import payloads
from .call import JSON, Answer, Call, Later, Response
from .payloads import MAX_BULK, BulkResult, PagePayload, StatusPayload, encode, order_payload
from .problems import ContentTooLarge, InvalidParameter, NotJson

NDJSON = "application/x-ndjson"
MAX_ORDER_BYTES = 1024 * 1024
"""Of a body with a single order, or without one: more than an order needs with any blanks in it."""
MAX_WAIT_SECONDS = 30
MAX_PAGE = 1_000
DEFAULT_PAGE = 100

_PLAIN_SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9})?")


class OrderCalls:
    """Submitting, reading and moving orders.

    Args:
        desk: of a running engine.
        max_waiting: requests that may wait for an order at the same time; a further one is answered at once.
    """

    def __init__(self, desk: Desk, max_waiting: int) -> None:
        self._desk = desk
        self._waiting = threading.BoundedSemaphore(max_waiting)

    def submit(self, call: Call) -> Later:
        """Accept an order: 201 when it is new, 200 when the very same order was sent before."""
        body, _ = call.body(JSON, max_bytes=MAX_ORDER_BYTES)
        accepted = self._desk.begin_submit((payloads.decode_order(body),))
        return Later(accepted, lambda: _submitted(accepted.get()))

    def submit_bulk(self, call: Call) -> Later:
        """Accept many orders in one transaction; a bad one does not keep the others out."""
        body, media_type = call.body(JSON, NDJSON)
        lines = payloads.split_lines(body) if media_type == NDJSON else payloads.split_array(body)
        if len(lines) > MAX_BULK:
            raise ContentTooLarge(f"{len(lines)} orders were sent; send {MAX_BULK} at the most at once.")
        read = [_read(line) for line in lines]
        accepted = self._desk.begin_submit([order for order in read if isinstance(order, Order)])
        return Later(accepted, lambda: _submitted_bulk(read, accepted.get()))

    def read(self, call: Call) -> Response:
        """An order; with `wait`, as soon as processing is over for it."""
        seconds = _seconds(call.query("wait").get("wait"))
        deadline = None if seconds is None else time.monotonic() + seconds
        return self._look(_known_form(call.order_id), deadline)

    def _look(self, order_id: str, deadline: float | None) -> Response:
        record = self._desk.order(order_id)
        seconds = 0.0 if deadline is None else deadline - time.monotonic()
        if seconds <= 0 or record.status.is_terminal or not self._waiting.acquire(blocking=False):
            return Answer(encode(order_payload(record)))
        try:
            moved = self._desk.begin_wait(order_id, seconds)
        except BaseException:
            self._waiting.release()
            raise
        moved.when_done(self._waiting.release)

        def look_again() -> Response:
            try:
                moved.get()
            except EngineStopped:  # it is not over, and will not be while this server lives
                return self._look(order_id, None)
            return self._look(order_id, deadline)

        return Later(moved, look_again)

    def read_status(self, call: Call) -> Answer:
        """Where an order is."""
        call.query()
        return Answer(encode(StatusPayload(call.order_id, self._desk.status(_known_form(call.order_id)))))

    def read_history(self, call: Call) -> Answer:
        """How an order got there."""
        call.query()
        transitions = self._desk.history(_known_form(call.order_id))
        return Answer(encode(payloads.history_payload(call.order_id, transitions)))

    def list(self, call: Call) -> Answer:
        """Orders, newest first, a page at a time."""
        query = call.query("status", "user_id", "limit", "cursor")
        limit = _limit(query.get("limit"))
        records = self._desk.orders(
            status=_status(query.get("status")),
            user_id=_user_id(query.get("user_id")),
            before=payloads.decode_cursor(query["cursor"]) if "cursor" in query else None,
            limit=limit + 1,
        )
        page = records[:limit]
        cursor = payloads.encode_cursor(page[-1].sequence) if len(records) > limit else None
        return Answer(encode(PagePayload([order_payload(record) for record in page], cursor)))

    def cancel(self, call: Call) -> Later:
        """Cancel an order that is Pending."""
        call.query()
        return _moved(self._desk.begin_cancel(_known_form(call.order_id)))

    def retry(self, call: Call) -> Later:
        """Put an order that is Failed or in Review back to Pending."""
        call.query()
        return _moved(self._desk.begin_retry(_known_form(call.order_id)))

    def settle(self, call: Call) -> Later:
        """End the Review of an order."""
        call.query()
        request = payloads.decode_settlement(call.body(JSON, max_bytes=MAX_ORDER_BYTES)[0])
        return _moved(self._desk.begin_settle(_known_form(call.order_id), request.status, request.reason))


def _submitted(acceptances: list[Acceptance]) -> Answer:
    ((outcome, record),) = acceptances
    match outcome:
        case Outcome.ACCEPTED:
            location = (("Location", f"/orders/{record.order_id}"),)
            return Answer(encode(order_payload(record)), HTTPStatus.CREATED, location)
        case Outcome.DUPLICATE:
            return Answer(encode(order_payload(record)))
        case Outcome.CONFLICT:
            raise OrderConflict(record.order_id)


def _submitted_bulk(read: list[Order | BulkResult], acceptances: Iterable[Acceptance]) -> Answer:
    remaining = iter(acceptances)
    results = []
    for entry in read:
        if isinstance(entry, BulkResult):
            results.append(entry)
            continue
        outcome, _ = next(remaining)
        if outcome is Outcome.CONFLICT:
            results.append(BulkResult(entry.order_id, "rejected", "an order of this id exists with other content"))
        else:
            results.append(BulkResult(entry.order_id, outcome))
    return Answer(encode(payloads.bulk_payload(results)))


def _moved(reply: Reply[OrderRecord]) -> Later:
    return Later(reply, lambda: Answer(encode(order_payload(reply.get()))))


def _read(line: bytes | msgspec.Raw) -> Order | BulkResult:
    try:
        return payloads.decode_order(line)
    except (InvalidOrder, NotJson) as error:
        return BulkResult(payloads.order_id_of(line), "rejected", str(error))


def _known_form(order_id: str) -> str:
    if IDENTIFIER.fullmatch(order_id) is None:
        raise OrderNotFound(order_id)
    return order_id


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    if not (_PLAIN_SECONDS.fullmatch(text) and float(text) <= MAX_WAIT_SECONDS):
        raise InvalidParameter("wait", f"must be a number of seconds from 0 to {MAX_WAIT_SECONDS}")
    return float(text)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidParameter("limit", f"must be a whole number from 1 to {MAX_PAGE}")
    return int(text)


def _status(text: str | None) -> OrderStatus | None:
    try:
        return None if text is None else OrderStatus(text)
    except ValueError:
        raise InvalidParameter("status", f"must be one of {', '.join(OrderStatus)}") from None


def _user_id(text: str | None) -> str | None:
    if text is not None and IDENTIFIER.fullmatch(text) is None:
        raise InvalidParameter("user_id", f"must be {IDENTIFIER_RULE}")
    return text
