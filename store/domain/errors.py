"""Every error that Ordermill raises on purpose. Each message says what was wrong and what to do."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, NamedTuple

_LONGEST_RETRY_SECONDS = 60


class OrdermillError(Exception):
    """The base of all errors of this package. They may be pickled: an error may happen in another process.

    Example:
        >>> try:
        ...     OrderEngine("orders.db").status("o-1")
        ... except OrdermillError as error:
        ...     print(error)
        The engine is not running: use it in a `with` block, or call start() first.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled with its message as the only argument; ours are made of other ones.
        return _rebuild, (type(self), self.args, self.__dict__)


class FieldFault(NamedTuple):
    """One thing that is wrong with an input.

    Example:
        >>> try:
        ...     make_order(item_ids=())
        ... except InvalidOrder as error:
        ...     error.faults[0].pointer
        '/item_ids'
    """

    pointer: str
    """Where, as a JSON pointer (RFC 6901): `/item_ids/2`; the empty string is the whole."""
    detail: str
    """What is wrong and what is allowed."""


def pointer_to(name: str) -> str:
    """The JSON pointer (RFC 6901) to a field.

    Args:
        name: the field's.
    """
    return "/" + name.replace("~", "~0").replace("/", "~1")


class InvalidOrder(OrdermillError):
    """An order breaks the rules for its fields. `faults` names every fault, not only the first.

    Example:
        >>> Order(order_id="o 1", user_id="u-1", item_ids=("sku-1",), total_amount=Decimal("-1"))
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.InvalidOrder: /order_id: must be ...; /total_amount: must be ...
    """

    def __init__(self, faults: tuple[FieldFault, ...]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{fault.pointer or 'order'}: {fault.detail}" for fault in faults))


class InvalidConfiguration(OrdermillError):
    """A setting is out of its range or names something that does not exist.

    Example:
        >>> OrderEngine("orders.db", procesors=8)
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.InvalidConfiguration: There is no setting `procesors`: ...
    """


class InvalidArgument(OrdermillError):
    """An argument of a call is of the wrong type, or out of its range; nothing was done.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     engine.submit("o-1")
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.InvalidArgument: ...
    """


class OrderNotFound(OrdermillError):
    """No order has this id.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     engine.status("o-1")
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.OrderNotFound: There is no order 'o-1'.
    """

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"There is no order {order_id!r}.")


class ActionNotFound(OrdermillError):
    """No bulk action has this number."""

    def __init__(self, action_id: int | str) -> None:
        self.action_id = action_id
        super().__init__(f"There is no action {action_id}.")


class OrderConflict(OrdermillError):
    """The order id is taken by an order with other content.

    Args:
        order_id: the id.
        is_visible: whether the caller may know anything of the other order.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     receipt = engine.submit(make_order("o-1"))
        ...     same = engine.submit(make_order("o-1"))
        ...     other = engine.submit(make_order("o-1", user_id="u-2"))
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.OrderConflict: Order 'o-1' exists with other content: ...
    """

    def __init__(self, order_id: str, *, is_visible: bool = True) -> None:
        self.order_id = order_id
        what = f"Order {order_id!r} exists with other content" if is_visible else f"The id {order_id!r} is taken"
        super().__init__(f"{what}: send it under an id of its own.")


class WebhookNotFound(OrdermillError):
    """No webhook has this id."""

    def __init__(self, webhook_id: str) -> None:
        self.webhook_id = webhook_id
        super().__init__(f"There is no webhook {webhook_id!r}.")


class InvalidWebhook(OrdermillError):
    """A webhook breaks the rules for its fields. `faults` names every fault."""

    def __init__(self, faults: tuple[FieldFault, ...]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{fault.pointer or 'webhook'}: {fault.detail}" for fault in faults))


class EventsGone(OrdermillError):
    """Events that come next were removed with their orders, for their age: whoever follows the log has missed them."""

    def __init__(self, after: int, removed_through: int) -> None:
        self.after = after
        """The last event before the gap."""
        self.removed_through = removed_through
        """The last one of those that were removed; beyond it the log is whole."""
        super().__init__(
            f"Events between {after} and {removed_through} were removed with their orders: look the orders up, then go "
            "on with what is left."
        )


class TooManyQueues(OrdermillError):
    """There are so many queues that a further one cannot be told apart; its orders wait in the default one.

    Args:
        queue: the further one.
        most: how many there may be.
    """

    def __init__(self, queue: str, most: int) -> None:
        self.queue = queue
        self.most = most
        super().__init__(
            f"There are {most} queues, and {queue!r} is none of them: its orders wait in the default queue. Use the "
            "name of one that is there."
        )


class TransitionRefused(OrdermillError):
    """The order's status does not allow what was asked.

    Args:
        order_id: the order.
        status: where it is; None where the caller is not to know.
        wanted: where it was to go.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     status = engine.submit(make_order("o-1")).wait(timeout=5)
        ...     engine.cancel("o-1")
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.TransitionRefused: Order 'o-1' is Completed, which does not allow ...
    """

    def __init__(self, order_id: str, status: str | None, wanted: str) -> None:
        self.order_id = order_id
        self.status = status
        if status is None:
            super().__init__(f"Order {order_id!r} cannot become {wanted} any more.")
            return
        why = " already" if wanted == status else f", which does not allow it to become {wanted}"
        super().__init__(f"Order {order_id!r} is {status}{why}.")


class IdempotencyKeyReused(OrdermillError):
    """The idempotency key was given to another request before; nothing of this one was stored."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The idempotency key {key!r} was sent with another body before: send a new key with this one."
        )


class BacklogFull(OrdermillError):
    """Too many accepted orders are unfinished; nothing of the submission was stored.

    Example:
        >>> handler = Held()
        >>> with OrderEngine("orders.db", handler=handler, max_backlog=1) as engine:
        ...     receipt = engine.submit(make_order("o-1"))
        ...     try:
        ...         engine.submit(make_order("o-2"))
        ...     except BacklogFull as error:
        ...         print(error)
        ...     handler.release()
        1 orders are unfinished and 1 more would pass the limit of 1: try again later.
    """

    def __init__(self, backlog: int, wanted: int, max_backlog: int, retry_after_seconds: int = 1) -> None:
        self.retry_after_seconds: int | None = retry_after_seconds
        """When there may be room; None where there never will be."""
        super().__init__(
            f"{backlog} orders are unfinished and {wanted} more would pass the limit of {max_backlog}: try again later."
        )


class UserBacklogFull(OrdermillError):
    """Too many accepted orders of one user are unfinished; nothing of the submission was stored."""

    def __init__(self, user_id: str, backlog: int, wanted: int, limit: int, retry_after_seconds: int) -> None:
        self.retry_after_seconds: int | None = retry_after_seconds
        """When there may be room; None where there never will be."""
        super().__init__(
            f"{backlog} orders of user {user_id!r} are unfinished and {wanted} more would pass the limit of {limit}: "
            "try again later."
        )


class SubmissionTooLarge(BacklogFull):
    """More new orders at once than may ever be unfinished: no waiting helps. Nothing of the submission was stored.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None, max_backlog=1) as engine:
        ...     engine.submit_many([make_order("o-1"), make_order("o-2")])
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.SubmissionTooLarge: 2 new orders at once are more than the 1 that ...
    """

    def __init__(self, wanted: int, max_backlog: int) -> None:
        self.retry_after_seconds = None
        OrdermillError.__init__(
            self,
            f"{wanted} new orders at once are more than the {max_backlog} that may be unfinished: "
            f"send {max_backlog} at the most at once.",
        )


class UserSubmissionTooLarge(UserBacklogFull):
    """More new orders of one user at once than it may ever have unfinished. Nothing of the submission was stored."""

    def __init__(self, user_id: str, wanted: int, limit: int) -> None:
        self.retry_after_seconds = None
        OrdermillError.__init__(
            self,
            f"{wanted} new orders of user {user_id!r} at once are more than the {limit} that it may have unfinished: "
            f"send {limit} at the most at once.",
        )


class DeadlineUnlikely(OrdermillError):
    """An order that is to be completed by a time is unlikely to be; it was not stored.

    Args:
        order_id: the order.
        complete_by: when it was to be completed.
        confidence: how likely it is that it would be, 0 to 1.
        earliest: when it could be promised for, with as much confidence as is asked for; None where nobody knows.
    """

    def __init__(self, order_id: str, complete_by: datetime, confidence: float, earliest: datetime | None) -> None:
        self.order_id = order_id
        self.complete_by = complete_by
        self.confidence = confidence
        self.earliest = earliest
        missing = _LONGEST_RETRY_SECONDS if earliest is None else (earliest - complete_by).total_seconds()
        self.retry_after_seconds = min(max(math.ceil(missing), 1), _LONGEST_RETRY_SECONDS)
        """After which as long a time as was asked for may be promised, if as much is worked off as is expected."""
        then = "" if earliest is None else f"; {earliest.isoformat()} could be promised at present"
        super().__init__(
            f"Order {order_id!r} is completed by {complete_by.isoformat()} with a probability of {confidence:.2f}, "
            f"which is too low{then}: give it more time, or try again later."
        )


class EngineStopped(OrdermillError):
    """The engine is not running: not started yet, stopping, or stopped.

    Example:
        >>> engine = OrderEngine("orders.db", handler=lambda order: None)
        >>> engine.submit(make_order())
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.EngineStopped: The engine is not running: ...
    """

    retry_after_seconds = 5

    def __init__(self, detail: str = "The engine is stopping: send the order again when it is back.") -> None:
        super().__init__(detail)


class RehearsalsBusy(OrdermillError):
    """As many rehearsals are under way as may be at once."""

    retry_after_seconds = 5

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} rehearsals are under way, and no more may be at once: try again in some seconds.")


class RehearsalFailed(OrdermillError):
    """A rehearsal has come to no end: it took too long, or its process died."""

    retry_after_seconds = 5

    def __init__(self, why: str) -> None:
        super().__init__(f"The rehearsal has come to no end ({why}): try again.")


class DatabaseRefused(OrdermillError):
    """The database cannot be used: not ours, from a newer version, or in use by another engine.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None):
        ...     OrderEngine("orders.db", handler=lambda order: None).start()
        Traceback (most recent call last):
            ...
        ordermill.store.domain.errors.DatabaseRefused: ...
    """


class BackupFailed(OrdermillError):
    """A copy of the database could not be made."""


class StoreUnavailable(OrdermillError):
    """The database did not take a write, or did not answer a read (busy, full, failing); nothing was changed."""

    retry_after_seconds = 1

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"The database failed ({cause}): nothing was changed, try again.")


def _rebuild(kind: type[OrdermillError], args: tuple[object, ...], attributes: dict[str, object]) -> OrdermillError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error
