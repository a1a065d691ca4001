"""What the two ends of a channel tell each other, and how it is written.

Orders that are handed in, and what becomes of them, are written by field, since they are nearly all that there is. A
new order does not come back, since whoever has handed it in has it. Everything else that an engine may be asked for is
written by pickle. Neither end takes anything from anybody else, so nothing is checked again.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import astuple

from ...engine import IdempotencyKey, Order, OrderRecord, OrderStatus, Outcome
from ...engine.requests import Request, SubmitOrders
from ...store.domain.outcome import Acceptance, Promise, PromisedAcceptance
from ...store.domain.record import Cause

_Order = tuple[
    str, str, tuple[str, ...], Decimal, int, datetime | None, datetime | None, str | None, str, dict[str, Any] | None
]
"""The fields of `Order`."""
_Acceptance = tuple[
    Outcome, Promise | None, _Order | None, int, OrderStatus, int, int, int, int, int | None, str | None
]
"""The outcome, what is promised, the order unless it is the very one that was handed in, and the other fields of
`OrderRecord`."""


class _Message(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Anything that is told."""


class Announced(_Message, frozen=True):
    """From a process that serves HTTP: it takes requests from now on."""


class Submitted(_Message, frozen=True):
    """From there: orders that are handed in; the fields of `SubmitOrders`, without its reply."""

    number: int
    orders: tuple[_Order, ...]
    causes: tuple[Cause, ...]
    idempotency: IdempotencyKey | None


class Asked(_Message, frozen=True):
    """From there: any other request."""

    number: int
    request: bytes
    """Pickled, without its reply."""


class Forgotten(_Message, frozen=True):
    """From there: nobody waits for the answer to a request any more."""

    number: int


class Accepted(_Message, frozen=True):
    """To there: what became of orders that were handed in."""

    number: int
    acceptances: list[_Acceptance]


class Answered(_Message, frozen=True):
    """To there: what became of any other request."""

    number: int
    value: bytes
    """Pickled."""


class Failed(_Message, frozen=True):
    """To there: why a request has failed."""

    number: int
    error: bytes
    """Pickled."""


class EngineHealth(_Message, frozen=True):
    """To there, every second: how the engine is."""

    unready_reasons: tuple[str, ...]
    dead_actors: tuple[str, ...]
    incidents: dict[str, int]
    warnings: tuple[str, ...]


class Stopping(_Message, frozen=True):
    """To there: a stop has begun."""


class Ended(_Message, frozen=True):
    """To there: the engine has stopped; nothing follows."""


FromWorker = Announced | Submitted | Asked | Forgotten
FromEngine = Accepted | Answered | Failed | EngineHealth | Stopping | Ended
Message = FromWorker | FromEngine

encode = msgspec.msgpack.Encoder().encode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_from_engine = msgspec.msgpack.Decoder(FromEngine).decode


def message_of(number: int, request: Request) -> Submitted | Asked:
    """What tells the other end of a request.

    Args:
        number: for the answer to name.
        request: it.
    """
    if isinstance(request, SubmitOrders):
        orders = tuple(map(astuple, request.orders))
        return Submitted(number, orders, tuple(request.causes), request.idempotency)
    return Asked(number, pickle.dumps(request._replace(reply=None)))  # type: ignore[arg-type]  # it stays here


def request_of(message: Submitted | Asked, reply: Any) -> Request:
    """The request that the other end told of.

    Args:
        message: what it told.
        reply: to be set with what becomes of it.
    """
    if isinstance(message, Submitted):
        orders = tuple([Order.sound(*fields) for fields in message.orders])
        return SubmitOrders(orders, reply, message.causes, message.idempotency)
    request: Request = pickle.loads(message.request)
    return request._replace(reply=reply)


def accepted(number: int, acceptances: Sequence[Acceptance]) -> Accepted:
    """What tells the other end what became of orders.

    Args:
        number: of the request that handed them in.
        acceptances: an answer for each of them, in the same sequence.
    """
    known = (Outcome.ACCEPTED, Outcome.UNLIKELY)
    told: list[Any] = [
        (
            acceptance.outcome,
            acceptance.promise,
            None if acceptance.outcome in known else astuple(acceptance.record.order),
            *astuple(acceptance.record)[1:],
        )
        for acceptance in acceptances
    ]
    return Accepted(number, told)


def acceptances_of(message: Accepted, orders: Sequence[Order]) -> list[Acceptance]:
    """What became of orders, as the other end told.

    Args:
        message: what it told.
        orders: that were handed in.
    """
    return [_acceptance_of(order, told) for order, told in zip(orders, message.acceptances, strict=True)]


def _acceptance_of(order: Order, told: _Acceptance) -> Acceptance:
    outcome, promise, other = told[:3]
    record = OrderRecord(order if other is None else Order.sound(*other), *told[3:])
    return Acceptance(outcome, record) if promise is None else PromisedAcceptance(outcome, record, promise)
