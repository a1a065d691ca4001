"""Arguments: what callers pass is checked here, before any actor sees it, and made into what the actors work with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

from msgspec import UNSET

from ..store.domain.act import Action
from ..store.domain.bulk_action import NAMED_STATUSES, STATUSES, BulkRequest
from ..store.domain.errors import FieldFault, InvalidArgument, InvalidOrder, InvalidWebhook, OrderNotFound
from ..store.domain.event import EventFilter
from ..store.domain.idempotency_key import IdempotencyKey
from ..store.domain.lifecycle import SETTLE, OrderStatus
from ..store.domain.limit import MAX_CONCURRENCY, MAX_RATE
from ..store.domain.order import FIELDS, IDENTIFIER, IDENTIFIER_RULE, USER, Order, field_faults
from ..store.domain.order_filter import PREFIX, PREFIX_RULE, OrderFilter
from ..store.domain.queue_settings import QueueChange
from ..store.domain.reason import REASON_RULE, reason_faults
from ..store.domain.record import ENGINE, Cause
from ..store.domain.rehearsal import (
    ERROR_CLASS,
    ERROR_CLASS_RULE,
    MAX_ARRIVALS,
    MAX_OUTAGE_SECONDS,
    Outage,
    Scenario,
)
from ..store.domain.schedule import Schedule
from ..store.domain.trace_context import sound_traceparent
from ..store.domain.webhook import URL_RULE, CreateWebhook, UpdateWebhook, WebhookChange, webhook_faults
from .config import MAX_PROCESSORS
from .telemetry.history import Window

MAX_NAME = 255
"""Characters of the name that somebody gives a request."""
MAX_PAGE = 1_000_000
"""Orders that are read at once."""
MAX_SECONDS = 1e9
"""Thirty years: infinity, and what no timeout of the platform can be, are mistakes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SEQUENCE = 2**63 - 1
_is_name = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_NAME}}}").fullmatch
_is_text = re.compile(r"[^\ud800-\udfff]*").fullmatch  # halves of characters cannot be stored
_NAME_RULE = f"a string of 1 to {MAX_NAME} characters, none of them a control"


def checked_orders(orders: object) -> tuple[Order, ...]:
    """A copy of the orders, each an `Order` and nothing more; what the caller does with its own is nobody's business.

    Raises:
        InvalidArgument: they cannot be listed, or one is not an order.
        InvalidOrder: one of a subclass breaks the rules for its fields.
    """
    if not isinstance(orders, Iterable):
        raise InvalidArgument(f"The orders must be a list, or anything that gives one after another; {_kind(orders)}.")
    return tuple(_plain_order(order, index) for index, order in enumerate(orders))


def checked_order_id(order_id: object) -> str:
    """An order's id.

    Raises:
        InvalidArgument: it is not a string.
        OrderNotFound: no order can have this id.
    """
    if not isinstance(order_id, str):
        raise InvalidArgument(f"An order's id must be a string; {_kind(order_id)}.")
    if IDENTIFIER.fullmatch(order_id) is None:
        raise OrderNotFound(order_id)
    return order_id


def checked_status(status: object, *, among: Iterable[OrderStatus] = OrderStatus) -> OrderStatus:
    """A status, given as a member of the enumeration or by its name.

    Args:
        status: what was passed.
        among: those that are taken.

    Raises:
        InvalidArgument: it is not one of them.
    """
    for known in among:
        if isinstance(status, str) and status == known:
            return known
    raise InvalidArgument(f"The status must be one of {', '.join(among)}; {_shown(status)} is not.")


def checked_schedule(schedule: Schedule) -> Schedule:
    """When an order's turn is to come.

    Raises:
        InvalidOrder: a field breaks its rule.
        InvalidArgument: nothing is to change.
    """
    given = schedule._asdict()
    wanted = {name: value for name, value in given.items() if value is not None and value is not UNSET}
    if faults := field_faults(wanted):
        raise InvalidOrder(faults)
    if schedule == Schedule():
        raise InvalidArgument("Say what is to change: the priority, one of the times, or the queue.")
    return schedule


def checked_queue(queue: object) -> str:
    """The name of a queue.

    Raises:
        InvalidArgument: it is none that a queue can have.
    """
    if isinstance(queue, str) and IDENTIFIER.fullmatch(queue):
        return queue
    raise InvalidArgument(f"The name of a queue must be {IDENTIFIER_RULE}; {_shown(queue)} is not.")


def checked_queue_change(change: QueueChange) -> QueueChange:
    """What is to be another one about a queue.

    Raises:
        InvalidArgument: a value is out of its range, or nothing is to change.
    """
    if change == QueueChange():
        raise InvalidArgument("Say what is to change: whether it is paused, its concurrency, or its rate.")
    if change.paused is not UNSET and not isinstance(change.paused, bool):
        raise InvalidArgument(f"Whether a queue is paused must be true or false; {_shown(change.paused)} is not.")
    if change.concurrency is not UNSET and change.concurrency is not None:
        _checked_number("concurrency", change.concurrency, 1, MAX_CONCURRENCY)
    rate = change.rate
    if rate is not UNSET and rate is not None and not (_is_number(rate) and 0 < rate <= MAX_RATE):
        raise InvalidArgument(f"The rate must be a number above 0 to {MAX_RATE:.0f}; {_shown(rate)} is not.")
    return change


def checked_scenario(scenario: Scenario) -> Scenario:
    """What is to be rehearsed.

    Raises:
        InvalidArgument: a part of it breaks its rule.
    """
    if scenario.processors is not None:
        checked_processors(scenario.processors)
    if scenario.action is not None:
        if not isinstance(scenario.action, BulkRequest):
            raise InvalidArgument(f"The action must be a BulkRequest; {_kind(scenario.action)}.")
        checked_action(*scenario.action)
    arrivals, pause, fail = scenario.arrivals, scenario.pause, scenario.fail
    if not _is_number(arrivals) or not 0 <= arrivals <= MAX_ARRIVALS:
        raise InvalidArgument(f"The arrivals must be a number from 0 to {MAX_ARRIVALS:g}; {_shown(arrivals)} is not.")
    if pause is not None and not (isinstance(pause, str) and USER.fullmatch(pause)):
        raise InvalidArgument(f"What is paused must be the name of a queue or a user; {_shown(pause)} is none.")
    if fail is not None:
        if not isinstance(fail, Outage):
            raise InvalidArgument(f"What fails must be an Outage; {_kind(fail)}.")
        if not isinstance(fail.error, str) or ERROR_CLASS.fullmatch(fail.error) is None:
            raise InvalidArgument(f"The error must be {ERROR_CLASS_RULE}; {_shown(fail.error)} is not.")
        if not _is_number(fail.for_seconds) or not 0 < fail.for_seconds <= MAX_OUTAGE_SECONDS:
            rule = f"above 0 to {MAX_OUTAGE_SECONDS}"
            raise InvalidArgument(f"It must fail for a number of seconds {rule}; {_shown(fail.for_seconds)} is not.")
    return scenario


def checked_window(window: object) -> Window:
    """How far back a chart goes, given as a member of the enumeration or by its value.

    Raises:
        InvalidArgument: it is neither.
    """
    for known in Window:
        if isinstance(window, str) and window == known:
            return known
    raise InvalidArgument(f"The window must be one of {', '.join(Window)}; {_shown(window)} is not.")


def checked_seconds(timeout: object) -> float | None:
    """How long somebody waits at the most, in seconds; None for ever.

    Raises:
        InvalidArgument: it is not a valid number of seconds.
    """
    if timeout is None or (isinstance(timeout, int | float) and not isinstance(timeout, bool) and _is_span(timeout)):
        return timeout
    raise InvalidArgument(
        f"The timeout must be a number of seconds from 0 to {MAX_SECONDS:.0f}, or None to wait for ever; "
        f"{_shown(timeout)} is not."
    )


def checked_pause(seconds: object) -> float | None:
    """How long a pause lasts at the most, in seconds; None until somebody ends it.

    Raises:
        InvalidArgument: it is not a valid time.
    """
    if seconds is None or (
        isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= MAX_SECONDS
    ):
        return seconds
    raise InvalidArgument(
        f"A pause lasts a number of seconds above 0 to {MAX_SECONDS:.0f}, or None until somebody resumes; "
        f"{_shown(seconds)} is not."
    )


def checked_processors(processors: object) -> int | None:
    """How many processors there are to be; None for as many as are configured.

    Raises:
        InvalidArgument: it is not a valid number.
    """
    return None if processors is None else _checked_number("number of processors", processors, 1, MAX_PROCESSORS)


def checked_limit(limit: object) -> int:
    """How many orders are read at the most.

    Raises:
        InvalidArgument: it is not a valid number.
    """
    return _checked_number("limit", limit, 1, MAX_PAGE)


def checked_sequence(before: object) -> int | None:
    """The sequence that a page goes on below; None for the first page.

    Raises:
        InvalidArgument: it is not a sequence.
    """
    return None if before is None else _checked_number("sequence `before`", before, 0, _MAX_SEQUENCE)


def checked_event_id(after: object) -> int:
    """The id of the last event that somebody knows; 0 before the first.

    Raises:
        InvalidArgument: it is not a valid id.
    """
    return _checked_number("event's id `after`", after, 0, _MAX_SEQUENCE)


def checked_filter(user_id: object, status: object, order_id: object) -> EventFilter:
    """Which events somebody follows.

    Raises:
        InvalidArgument: a user's id, a status or an order's id is not valid.
        OrderNotFound: no order can have that id.
    """
    return EventFilter(
        checked_user_id(user_id),
        None if status is None else checked_status(status),
        None if order_id is None else checked_order_id(order_id),
    )


def checked_delivery_id(delivery: object) -> int:
    """The id of a delivery.

    Raises:
        InvalidArgument: it is no such id.
    """
    return _checked_number("delivery's id", delivery, 1, _MAX_SEQUENCE)


def checked_webhook_change(change: WebhookChange) -> WebhookChange:
    """What somebody wants of a webhook.

    Raises:
        InvalidWebhook: a field breaks its rule.
        WebhookNotFound: no webhook can have that id.
    """
    if isinstance(change, CreateWebhook | UpdateWebhook):
        faults = webhook_faults(change.url, change.events, change.description)
        if isinstance(change, CreateWebhook) and change.url is None:
            faults.append(FieldFault("/url", URL_RULE))
        if faults:
            raise InvalidWebhook(tuple(faults))
        if change.events is not None:
            change = change._replace(events=tuple(map(str, dict.fromkeys(change.events))))
    if not isinstance(change, CreateWebhook) and not isinstance(change.webhook_id, str):
        raise InvalidArgument(f"A webhook's id must be a string; {_kind(change.webhook_id)}.")
    return change


def checked_time(name: str, at: object) -> int | None:
    """A time, in microseconds since 1970-01-01T00:00:00Z; None for none.

    Args:
        name: of the argument.
        at: what was passed.

    Raises:
        InvalidArgument: it is no datetime with a time zone, or one before 1970.
    """
    if at is None:
        return None
    if isinstance(at, datetime) and at.utcoffset() is not None and at >= _EPOCH:
        return (at - _EPOCH) // timedelta(microseconds=1)
    raise InvalidArgument(f"The time `{name}` must be a datetime with a time zone, from 1970 on; {_shown(at)} is not.")


def checked_order_filter(
    *,
    status: object = None,
    user_id: object = None,
    queue: object = None,
    order_id_prefix: object = None,
    error: object = None,
    **times: object,
) -> OrderFilter:
    """Which orders are meant.

    Args:
        status: a member of `OrderStatus`, or its name.
        user_id: whose.
        queue: the one that they wait in, or have waited in.
        order_id_prefix: what their ids begin with.
        error: what they have failed with.
        times: datetimes by the names of the filters.

    Raises:
        InvalidArgument: one of them is of the wrong type, or out of its range.
    """
    if order_id_prefix is not None and not (isinstance(order_id_prefix, str) and PREFIX.fullmatch(order_id_prefix)):
        raise InvalidArgument(f"The prefix of ids must be {PREFIX_RULE}; {_shown(order_id_prefix)} is not.")
    return OrderFilter(
        status=None if status is None else checked_status(status),
        user_id=checked_user_id(user_id),
        queue=None if queue is None else checked_queue(queue),
        order_id_prefix=order_id_prefix,
        error=None if error is None else _checked_name("error", error),
        **{f"{name}_us": checked_time(name, at) for name, at in times.items()},
    )


def checked_action(action: object, wanted: object, status: object) -> BulkRequest:
    """What is to be done to which orders.

    Args:
        action: a member of `Action`, or its name.
        wanted: which orders.
        status: what they are settled as; None where they are not.

    Raises:
        InvalidArgument: there is no such action on orders, or it is not for orders in the status of the filter.
    """
    known = next((one for one in STATUSES if isinstance(action, str) and action == one), None)
    if known is None:
        raise InvalidArgument(f"The action must be one of {', '.join(STATUSES)}; {_shown(action)} is not.")
    if not isinstance(wanted, OrderFilter):
        raise InvalidArgument(f"Which orders are meant must be an OrderFilter; {_kind(wanted)}.")
    if wanted.status is not None and wanted.status not in NAMED_STATUSES[known]:
        raise InvalidArgument(
            f"A {known} is for orders that are {' or '.join(NAMED_STATUSES[known])}, not for those that are "
            f"{wanted.status}."
        )
    if known is not Action.SETTLE:
        if status is not None:
            raise InvalidArgument(f"A {known} takes no status; {_shown(status)} was given.")
        return BulkRequest(known, wanted)
    return BulkRequest(known, wanted, checked_status(status, among=SETTLE))


def checked_action_id(action_id: object) -> int:
    """The number of a bulk action.

    Raises:
        InvalidArgument: it is none.
    """
    return _checked_number("number of the action", action_id, 1, _MAX_SEQUENCE)


def checked_user_id(user_id: object) -> str | None:
    """The user whose orders are read; None for all.

    Raises:
        InvalidArgument: it is not a string that can be a user's id.
    """
    return None if user_id is None else _checked_name("user's id", user_id)


def checked_reason(reason: object) -> str | None:
    """Why an order is moved; None for the usual reason.

    Raises:
        InvalidArgument: it breaks the rule for reasons.
    """
    if reason is None or (isinstance(reason, str) and not reason_faults(reason)):
        return reason
    raise InvalidArgument(f"The reason must be {REASON_RULE}.")


def checked_cause(cause: object) -> Cause:
    """Who wants something; the engine itself where nothing is known.

    Raises:
        InvalidArgument: it is no `Cause`, or a name in it is not one that can be stored.
    """
    if cause is None:
        return ENGINE
    if not isinstance(cause, Cause):
        raise InvalidArgument(f"The cause must be a Cause; {_kind(cause)}.")
    if cause.request_id is not None:
        _checked_name("request's id", cause.request_id)
    if cause.acted_by is not None and not (isinstance(cause.acted_by, str) and _is_text(cause.acted_by)):
        raise InvalidArgument(f"The name of who acts must be a string of whole characters; {_shown(cause.acted_by)}.")
    if cause.traceparent is not None and not (
        isinstance(cause.traceparent, str) and sound_traceparent(cause.traceparent)
    ):
        raise InvalidArgument(f"The traceparent must be one of W3C's Trace Context; {_shown(cause.traceparent)}.")
    return cause


def checked_idempotency(given: object) -> IdempotencyKey | None:
    """A client's name for its request.

    Raises:
        InvalidArgument: it is no `IdempotencyKey`, or a part of it cannot be stored.
    """
    if given is None:
        return None
    if not isinstance(given, IdempotencyKey):
        raise InvalidArgument(f"The idempotency key must be an IdempotencyKey; {_kind(given)}.")
    _checked_name("idempotency key", given.key)
    _checked_name("fingerprint of the request", given.fingerprint)
    if given.user_id != "":
        _checked_name("user's id", given.user_id)
    return given


def _plain_order(order: object, index: int) -> Order:
    if type(order) is Order:
        return order
    if isinstance(order, Order):  # of a class of the caller's: what is stored, and compared with it, is an Order
        return Order(**{name: getattr(order, name) for name in FIELDS})
    raise InvalidArgument(f"Submit orders of the type Order; {_kind(order)}, number {index + 1} of those submitted.")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_span(seconds: float) -> bool:
    return 0 <= seconds <= MAX_SECONDS  # which NaN is not


def _checked_number(what: str, number: object, lowest: int, highest: int) -> int:
    if isinstance(number, int) and not isinstance(number, bool) and lowest <= number <= highest:
        return number
    raise InvalidArgument(f"The {what} must be a whole number from {lowest} to {highest}; {_shown(number)} is not.")


def _checked_name(what: str, name: object) -> str:
    if isinstance(name, str) and _is_name(name):
        return name
    raise InvalidArgument(f"The {what} must be {_NAME_RULE}; {_shown(name)} is not.")


def _kind(value: object) -> str:
    return f"this is of the type {type(value).__name__}"


def _shown(value: object) -> str:
    # A text or a number as it was passed, as far as it is short; of anything else the type, since it may be anything.
    if isinstance(value, str):
        return repr(str.__str__(value)) if len(value) <= MAX_NAME else f"a string of {len(value)} characters"
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int) and abs(value) < 10**30:
        return repr(value)
    return f"something of the type {type(value).__name__}"
