"""The calls about orders."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from http import HTTPStatus

import msgspec

from ..engine import EngineStopped, InvalidOrder, Order, OrderEngine, OrderNotFound, OrderStatus, Outcome
from ..store.order import IDENTIFIER, IDENTIFIER_RULE
from . import payloads
from .call import JSON, Answer, Call
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
        engine: a running engine.
        max_waiting: requests that may wait for an order at the same time; a further one is answered at once.
    """

    def __init__(self, engine: OrderEngine, max_waiting: int) -> None:
        self._engine = engine
        self._waiting = threading.BoundedSemaphore(max_waiting)

    def submit(self, call: Call) -> Answer:
        """Accept an order: 201 when it is new, 200 when the very same order was sent before."""
        body, _ = call.body(JSON, max_bytes=MAX_ORDER_BYTES)
        receipt = self._engine.submit(payloads.decode_order(body))
        if receipt.outcome is Outcome.DUPLICATE:
            return Answer(encode(order_payload(self._engine.order(receipt.order_id))))
        location = (("Location", f"/orders/{receipt.order_id}"),)
        return Answer(encode(order_payload(receipt.record)), HTTPStatus.CREATED, location)

    def submit_bulk(self, call: Call) -> Answer:
        """Accept many orders in one transaction; a bad one does not keep the others out."""
        body, media_type = call.body(JSON, NDJSON)
        lines = payloads.split_lines(body) if media_type == NDJSON else payloads.split_array(body)
        if len(lines) > MAX_BULK:
            raise ContentTooLarge(f"{len(lines)} orders were sent; send {MAX_BULK} at the most at once.")
        read = [_read(line) for line in lines]
        receipts = iter(self._engine.submit_many(order for order in read if isinstance(order, Order)))
        results = []
        for entry in read:
            if isinstance(entry, BulkResult):
                results.append(entry)
                continue
            receipt = next(receipts)
            if receipt.outcome is Outcome.CONFLICT:
                results.append(BulkResult(entry.order_id, "rejected", "an order of this id exists with other content"))
            else:
                results.append(BulkResult(entry.order_id, receipt.outcome))
        return Answer(encode(payloads.bulk_payload(results)))

    def read(self, call: Call) -> Answer:
        """An order; with `wait`, as soon as processing is over for it."""
        seconds = _seconds(call.query("wait").get("wait"))
        order_id = _known_form(call.order_id)
        record = self._engine.order(order_id)
        if seconds is not None and not record.status.is_terminal and self._waiting.acquire(blocking=False):
            try:
                with suppress(TimeoutError, EngineStopped):
                    self._engine.wait(order_id, seconds)
            finally:
                self._waiting.release()
            record = self._engine.order(order_id)
        return Answer(encode(order_payload(record)))

    def read_status(self, call: Call) -> Answer:
        """Where an order is."""
        call.query()
        return Answer(encode(StatusPayload(call.order_id, self._engine.status(_known_form(call.order_id)))))

    def read_history(self, call: Call) -> Answer:
        """How an order got there."""
        call.query()
        transitions = self._engine.history(_known_form(call.order_id))
        return Answer(encode(payloads.history_payload(call.order_id, transitions)))

    def list(self, call: Call) -> Answer:
        """Orders, newest first, a page at a time."""
        query = call.query("status", "user_id", "limit", "cursor")
        limit = _limit(query.get("limit"))
        records = self._engine.orders(
            status=_status(query.get("status")),
            user_id=_user_id(query.get("user_id")),
            before=payloads.decode_cursor(query["cursor"]) if "cursor" in query else None,
            limit=limit + 1,
        )
        page = records[:limit]
        cursor = payloads.encode_cursor(page[-1].sequence) if len(records) > limit else None
        return Answer(encode(PagePayload([order_payload(record) for record in page], cursor)))

    def cancel(self, call: Call) -> Answer:
        """Cancel an order that is Pending."""
        call.query()
        return Answer(encode(order_payload(self._engine.cancel(_known_form(call.order_id)))))

    def retry(self, call: Call) -> Answer:
        """Put an order that is Failed or in Review back to Pending."""
        call.query()
        return Answer(encode(order_payload(self._engine.retry(_known_form(call.order_id)))))

    def settle(self, call: Call) -> Answer:
        """End the Review of an order."""
        call.query()
        request = payloads.decode_settlement(call.body(JSON, max_bytes=MAX_ORDER_BYTES)[0])
        record = self._engine.settle(_known_form(call.order_id), request.status, request.reason)
        return Answer(encode(order_payload(record)))


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
