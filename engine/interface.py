"""Engine: what an engine does for its callers, be it in this process or in another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, TypeVar, cast

from msgspec import UNSET, UnsetType
from pykka import Timeout

from ..store import audit_log, bulk_actions, engines, event_log, failures, queries, search
from ..store.domain import lifecycle
from ..store.domain.act import Action, AuditEntry
from ..store.domain.bulk_action import ActionPreview, BulkAction, BulkRequest
from ..store.domain.engine_state import EngineState
from ..store.domain.errors import ActionNotFound, OrderNotFound
from ..store.domain.event import EVERYTHING, EventFilter, EventPage
from ..store.domain.failure import FailureGroup
from ..store.domain.idempotency_key import IdempotencyKey
from ..store.domain.lifecycle import OrderStatus
from ..store.domain.order import Order
from ..store.domain.order_filter import OrderFilter, OrderPage
from ..store.domain.outcome import Acceptance, error_of
from ..store.domain.outlook import Outlook
from ..store.domain.queue_settings import QueueChange, QueueCounts, QueueState
from ..store.domain.record import Cause, HistoryPage, OrderRecord, Transition, utc
from ..store.domain.rehearsal import Outage, Rehearsal, Scenario
from ..store.domain.schedule import Schedule
from ..store.domain.webhook import (
    CreateWebhook,
    DeleteWebhook,
    Delivery,
    DeliveryState,
    NewSecret,
    ReplayDeliveries,
    RotateSecret,
    SendTestEvent,
    UpdateWebhook,
    Webhook,
    WebhookChange,
    WebhookEvent,
)
from ..store.outbox import first_due_us
from ..store.queues import queue_counts
from ..store.statements import Database
from ..store.webhooks import all_webhooks, deliveries, deliveries_of_order, find_webhook
from . import requests
from .arguments import (
    checked_action,
    checked_action_id,
    checked_cause,
    checked_delivery_id,
    checked_event_id,
    checked_filter,
    checked_idempotency,
    checked_limit,
    checked_order_filter,
    checked_order_id,
    checked_orders,
    checked_pause,
    checked_processors,
    checked_queue,
    checked_queue_change,
    checked_reason,
    checked_scenario,
    checked_schedule,
    checked_seconds,
    checked_sequence,
    checked_status,
    checked_time,
    checked_webhook_change,
    checked_window,
)
from .event_stream import EventStream
from .receipt import Receipt
from .reply import Reply, fail
from .requests import Request
from .snapshot import Chart, ControlSnapshot, Exposition, MetricsSnapshot, ProcessorSnapshot
from .telemetry.history import Window

T = TypeVar("T")


class Engine(ABC):
    """Takes what callers want, and answers. All methods may be called from any thread.

    Those that begin with `begin_` do not wait: they give a `Reply`, which raises on `get` what the others raise. Of a
    wrong argument, and of an engine that is not running, they tell at once. All raise InvalidArgument for an argument
    of the wrong type or out of its range, before anything is done.
    """

    def submit(self, order: Order) -> Receipt:
        """Accept an order. Returns when it is safely on disk.

        The very same order may be submitted again: it is stored and handled once.

        Raises:
            OrderConflict: its id is taken by an order with other content.
            DeadlineUnlikely: it is less likely to be completed by its time than `min_confidence`.
            BacklogFull: too many orders are unfinished.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        (acceptance,) = self.begin_submit((order,)).get()
        if (error := error_of(acceptance)) is not None:
            raise error
        return Receipt(acceptance, self.wait)

    def submit_many(self, orders: Iterable[Order]) -> list[Receipt]:
        """Accept orders in one transaction. Returns when all are safely on disk.

        Returns:
            A receipt for each, in the same sequence. One whose id is taken by other content has the outcome
            `conflict`, one that is unlikely to be completed by its time has `unlikely`; neither keeps the others out.

        Raises:
            BacklogFull: there is no room for all of them; none was accepted.
            StoreUnavailable: the database did not take them; none was accepted.
            EngineStopped: the engine is not running.
        """
        return [Receipt(acceptance, self.wait) for acceptance in self.begin_submit(orders).get()]

    def begin_submit(
        self,
        orders: Iterable[Order],
        cause: Cause | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Reply[list[Acceptance]]:
        """As `submit_many`: an acceptance for each order, once all are safely on disk.

        Args:
            orders: what is submitted.
            cause: who wants it, for the history of the orders; nobody is named by default.
            idempotency: the client's name for that request. The reply raises IdempotencyKeyReused where another
                request had it before.
        """
        copied = checked_orders(orders)
        causes = () if cause is None else (checked_cause(cause),) * len(copied)
        given = checked_idempotency(idempotency)
        if copied:
            return self._ask(partial(requests.SubmitOrders, copied, causes=causes, idempotency=given))
        nothing: Reply[list[Acceptance]] = Reply()
        nothing.set([])
        return nothing

    def cancel(self, order_id: str, reason: str | None = None) -> OrderRecord:
        """Cancel an order that is Pending.

        Args:
            order_id: the order.
            reason: why, in 1 to 500 characters without controls; it goes into the history.

        Returns:
            The order as it is afterwards.

        Raises:
            OrderNotFound: no order has this id.
            TransitionRefused: it is not Pending.
            InvalidArgument: the reason breaks its rule.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        return self.begin_cancel(order_id, reason).get()

    def begin_cancel(self, order_id: str, reason: str | None = None, cause: Cause | None = None) -> Reply[OrderRecord]:
        """As `cancel`; who wants it goes into the history."""
        known = checked_order_id(order_id)
        return self._ask(
            partial(requests.CancelOrder, known, reason=checked_reason(reason), cause=checked_cause(cause))
        )

    def retry(self, order_id: str, reason: str | None = None) -> OrderRecord:
        """Have an order handled again at once: one that is Failed or in Review, or that waits for its next attempt.

        It gets all of its attempts anew.

        Args:
            order_id: the order.
            reason: why, in 1 to 500 characters without controls; it goes into the history.

        Returns:
            The order as it is afterwards.

        Raises:
            As `cancel`.
        """
        return self.begin_retry(order_id, reason).get()

    def begin_retry(self, order_id: str, reason: str | None = None, cause: Cause | None = None) -> Reply[OrderRecord]:
        """As `retry`; who wants it goes into the history."""
        known = checked_order_id(order_id)
        return self._ask(partial(requests.RetryOrder, known, reason=checked_reason(reason), cause=checked_cause(cause)))

    def settle(self, order_id: str, status: OrderStatus | str, reason: str | None = None) -> OrderRecord:
        """End the Review of an order.

        Args:
            order_id: the order.
            status: Completed or Failed, as a member of `OrderStatus` or by its name.
            reason: why, in 1 to 500 characters without controls; it goes into the history.

        Returns:
            The order as it is afterwards.

        Raises:
            InvalidArgument: `status` is neither Completed nor Failed.
            As `cancel`.
        """
        return self.begin_settle(order_id, status, reason).get()

    def begin_settle(
        self,
        order_id: str,
        status: OrderStatus | str,
        reason: str | None = None,
        cause: Cause | None = None,
    ) -> Reply[OrderRecord]:
        """As `settle`; who wants it goes into the history."""
        settled = checked_status(status, among=lifecycle.SETTLE)
        known = checked_order_id(order_id)
        return self._ask(
            partial(requests.SettleOrder, known, settled, reason=checked_reason(reason), cause=checked_cause(cause))
        )

    def reschedule(
        self,
        order_id: str,
        *,
        priority: int | None = None,
        not_before: datetime | UnsetType | None = UNSET,
        complete_by: datetime | UnsetType | None = UNSET,
        queue: str | None = None,
        reason: str | None = None,
    ) -> OrderRecord:
        """Change when an order's turn comes that no handler has begun. It takes its turn like a new one.

        What waits for its next attempt goes on waiting for that. When it is sent again, it is the same order still.

        Args:
            order_id: the order.
            priority: how early its turn comes, 0 to 9; 9 is first. None leaves it as it is.
            not_before: when it may be begun at the earliest, with the offset from UTC; None for at once. Without it,
                that stays as it is.
            complete_by: when it is to be Completed, likewise; None where that is no longer to be watched.
            queue: the queue that it waits in; None leaves it as it is.
            reason: why, in 1 to 500 characters without controls; it goes into the history.

        Returns:
            The order as it is afterwards.

        Raises:
            InvalidOrder: the priority, a time or the queue breaks its rule.
            TransitionRefused: the order is begun, or over.
            As `cancel`.
        """
        return self.begin_reschedule(order_id, Schedule(priority, not_before, complete_by, queue), reason).get()

    def begin_reschedule(
        self, order_id: str, schedule: Schedule, reason: str | None = None, cause: Cause | None = None
    ) -> Reply[OrderRecord]:
        """As `reschedule`; who wants it goes into the history."""
        known, wanted = checked_order_id(order_id), checked_schedule(schedule)
        return self._ask(
            partial(requests.RescheduleOrder, known, wanted, reason=checked_reason(reason), cause=checked_cause(cause))
        )

    def order(self, order_id: str) -> OrderRecord:
        """An order and where it is.

        Raises:
            OrderNotFound: no order has this id.
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        known = checked_order_id(order_id)
        record = self._read(lambda database: queries.find(database, known))
        if record is None:
            raise OrderNotFound(order_id)
        return record

    def status(self, order_id: str) -> OrderStatus:
        """Where an order is; raises as `order`."""
        return self.order(order_id).status

    def history(self, order_id: str) -> tuple[Transition, ...]:
        """How an order got there, oldest first: all of it, however long that is; raises as `order`."""
        known = checked_order_id(order_id)
        transitions = self._read(lambda database: queries.history(database, known))
        if not transitions:
            raise OrderNotFound(order_id)
        return transitions

    def history_page(self, order_id: str, after: int | None = None, limit: int = 100) -> HistoryPage:
        """How an order got there, oldest first, a page at a time.

        Args:
            order_id: the order.
            after: where the page begins: the `after` of the last page.
            limit: how many steps at the most, 1 to 1,000,000.

        Raises:
            As `order`.
        """
        known, first = checked_order_id(order_id), None if after is None else checked_event_id(after)
        page = self._read(partial(queries.history_page, order_id=known, after=first, limit=checked_limit(limit)))
        if not page.transitions:
            self.order(known)  # or there is no such order
        return page

    def newest_steps(self, order_id: str, limit: int = 100) -> list[Transition]:
        """The last steps of an order, newest first.

        Args:
            order_id: the order.
            limit: how many at the most, 1 to 1,000,000.

        Raises:
            As `order`.
        """
        known = checked_order_id(order_id)
        steps = self._read(partial(queries.newest_steps, order_id=known, limit=checked_limit(limit)))
        if not steps:
            raise OrderNotFound(order_id)
        return steps

    def orders(
        self,
        *,
        status: OrderStatus | str | None = None,
        user_id: str | None = None,
        queue: str | None = None,
        order_id_prefix: str | None = None,
        error: str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        updated_from: datetime | None = None,
        updated_to: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[OrderRecord]:
        """Orders, newest first.

        Args:
            status: only these: a member of `OrderStatus`, or its name.
            user_id: only this user's.
            queue: only those that wait in this queue, or have waited in it.
            order_id_prefix: only those whose ids begin with this.
            error: only those that have failed with it, or wait for their next attempt or a review after it: the class
                of an error, or its name as `failures` has it.
            created_from: only those that were accepted at this time or later; with a time zone, as all times.
            created_to: only those that were accepted before this time.
            updated_from: only those that changed last at this time or later.
            updated_to: only those that changed last before this time.
            before: only those with a `sequence` below this one: the last of a page leads to the next page.
            limit: how many at the most, 1 to 1,000,000.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        wanted = checked_order_filter(
            status=status,
            user_id=user_id,
            queue=queue,
            order_id_prefix=order_id_prefix,
            error=error,
            created_from=created_from,
            created_to=created_to,
            updated_from=updated_from,
            updated_to=updated_to,
        )
        limit = checked_limit(limit)
        page = self.order_page(wanted, before, limit)
        found = page.orders
        while page.before is not None and len(found) < limit:
            page = self.order_page(wanted, page.before, limit - len(found))
            found += page.orders
        return found

    def order_page(self, wanted: OrderFilter, before: int | None = None, limit: int = 100) -> OrderPage:
        """Some of the orders that a filter means, newest first, in milliseconds however many there are.

        Args:
            wanted: which orders.
            before: only those with a `sequence` below this one: the `before` of the last page.
            limit: how many at the most, 1 to 1,000,000; there may be fewer although more follow.

        Raises:
            As `orders`.
        """
        return self._read(
            partial(search.page, wanted=wanted, before=checked_sequence(before), limit=checked_limit(limit))
        )

    def failures(self, limit: int = 100) -> list[FailureGroup]:
        """What orders have failed with, or wait for their next attempt after: the error of most of them first.

        Args:
            limit: how many errors at the most, 1 to 1,000,000.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return self._read(partial(failures.groups, limit=checked_limit(limit)))

    def events(
        self,
        after: int | None = None,
        *,
        user_id: str | None = None,
        status: OrderStatus | str | None = None,
        order_id: str | None = None,
        timeout: float | None = None,
    ) -> EventStream:
        """What happens to the orders, one step after another in the order of recording: none is left out or repeated.

        Args:
            after: the `id` of the last event that you know; 0 begins with the oldest, None with the next one.
            user_id: only of this user's orders.
            status: only steps to this status: a member of `OrderStatus`, or its name.
            order_id: only of this order.
            timeout: seconds to wait for a further event, after which the iteration ends; None waits for ever.

        Returns:
            An iterator of `Event`. It raises EventsGone where events that come next were removed with their orders,
            StoreUnavailable where the database did not answer, and goes on when it is asked again. It ends when the
            engine stops: go on after the last `id` with the next one.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        wanted, seconds = checked_filter(user_id, status, order_id), checked_seconds(timeout)
        return EventStream(self, self.last_event_id() if after is None else checked_event_id(after), wanted, seconds)

    def event_page(self, after: int, limit: int = 1_000, wanted: EventFilter = EVERYTHING) -> EventPage:
        """What comes next in the log of all transitions, without waiting for it.

        Args:
            after: only what has a higher id.
            limit: how many at the most, 1 to 1,000,000.
            wanted: only these.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        known, most = checked_event_id(after), checked_limit(limit)
        return self._read(lambda database: event_log.page(database, known, most, wanted))

    def last_event_id(self) -> int:
        """The id of the newest event, 0 before the first; raises as `event_page`."""
        return self._read(event_log.last_id)

    def begin_wait_for_events(self, after: int) -> Reply[None]:
        """Be told when the log of all transitions goes on beyond an id; at once, if it has already.

        Whoever waits no longer sets the reply.

        Raises:
            StoreUnavailable, EngineStopped: as `event_page`; a reply may raise EngineStopped too.
        """
        return self._ask(partial(requests.AwaitEvents, checked_event_id(after)))

    def create_webhook(
        self, url: str, *, events: Iterable[str] | None = None, description: str | None = None
    ) -> NewSecret:
        """Have events sent to a further address, as Standard Webhooks.

        Args:
            url: the receiver's: http or https.
            events: those that it is told of, members of `WebhookEvent` or their names; all by default.
            description: what it is for, in words for people.

        Returns:
            The webhook, and the secret that its receiver verifies signatures with: nobody is told it again.

        Raises:
            InvalidWebhook: a field breaks its rule, or there are too many webhooks.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        wanted = CreateWebhook(url, tuple(WebhookEvent if events is None else events), description)
        return cast(NewSecret, self.begin_change_webhooks(wanted).get())

    def update_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change a webhook; what is left out stays. Enabled again, it gets at once what waits for its next attempt.

        Raises:
            WebhookNotFound: there is none of that id.
            As `create_webhook`.
        """
        wanted = UpdateWebhook(webhook_id, url, None if events is None else tuple(events), description, enabled)
        return cast(Webhook, self.begin_change_webhooks(wanted).get())

    def delete_webhook(self, webhook_id: str) -> None:
        """Send nothing more there, and forget what was sent; raises as `update_webhook`."""
        self.begin_change_webhooks(DeleteWebhook(webhook_id)).get()

    def rotate_webhook_secret(self, webhook_id: str) -> NewSecret:
        """Sign with a new secret; for a day, requests are signed with the old one as well.

        Raises:
            As `update_webhook`.
        """
        return cast(NewSecret, self.begin_change_webhooks(RotateSecret(webhook_id)).get())

    def test_webhook(self, webhook_id: str) -> None:
        """Send it an event of the type `webhook.test`; raises as `update_webhook`."""
        self.begin_change_webhooks(SendTestEvent(webhook_id)).get()

    def replay_webhook(
        self,
        webhook_id: str,
        *,
        delivery: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        failed_only: bool = False,
    ) -> int:
        """Send again what was delivered or given up, 10,000 events at the most; each keeps its id.

        Args:
            webhook_id: which webhook.
            delivery: this one only.
            since: only events that happened then or later; with a time zone.
            until: only events that happened then or before; likewise.
            failed_only: only what was given up.

        Returns:
            How many there are.

        Raises:
            As `update_webhook`.
        """
        wanted = ReplayDeliveries(
            webhook_id,
            None if delivery is None else checked_delivery_id(delivery),
            checked_time("since", since),
            checked_time("until", until),
            failed_only,
        )
        return cast(int, self.begin_change_webhooks(wanted).get())

    def begin_change_webhooks(self, change: WebhookChange, cause: Cause | None = None) -> Reply[Any]:
        """As the methods above, by what is wanted; who wants it goes into the audit log."""
        known = checked_webhook_change(change)
        return self._ask(partial(requests.ChangeWebhooks, known, cause=checked_cause(cause)))

    def webhooks(self) -> list[Webhook]:
        """Every webhook, oldest first; raises as `event_page`."""
        return self._read(all_webhooks)

    def webhook(self, webhook_id: str) -> Webhook:
        """One of them.

        Raises:
            WebhookNotFound: there is none of that id.
            StoreUnavailable, EngineStopped: as `event_page`.
        """
        return self._read(lambda database: find_webhook(database, webhook_id))

    def webhook_deliveries(
        self, webhook_id: str, *, state: DeliveryState | None = None, before: int | None = None, limit: int = 100
    ) -> list[Delivery]:
        """What is sent and was sent to a webhook within a week, newest first, each with its latest attempt.

        Args:
            webhook_id: which webhook.
            state: only these.
            before: only those with an `id` below this one: the last of a page leads to the next page.
            limit: how many at the most, 1 to 1,000,000.

        Raises:
            WebhookNotFound: there is none of that id.
            StoreUnavailable, EngineStopped: as `event_page`.
        """
        known, most = checked_sequence(before), checked_limit(limit)
        return self._read(lambda database: deliveries(database, webhook_id, state=state, before=known, limit=most))

    def order_deliveries(self, order_id: str, *, before: int | None = None, limit: int = 100) -> list[Delivery]:
        """What is sent and was sent of an order's events within a week, to all webhooks, as `webhook_deliveries`.

        Args:
            order_id: the order; one that is not there has none.
            before: only those with an `id` below this one: the last of a page leads to the next page.
            limit: how many at the most, 1 to 1,000,000.

        Raises:
            StoreUnavailable, EngineStopped: as `event_page`.
        """
        asked, known, most = checked_order_id(order_id), checked_sequence(before), checked_limit(limit)
        return self._read(lambda database: deliveries_of_order(database, asked, before=known, limit=most))

    def wait(self, order_id: str, timeout: float | None = None) -> OrderStatus:
        """Wait until processing is over for an order.

        Args:
            order_id: the order.
            timeout: seconds, 0 to 1e9; None waits for ever.

        Returns:
            Completed, Failed or Cancelled.

        Raises:
            TimeoutError: it was not over in time.
            OrderNotFound: no order has this id.
            EngineStopped: the engine is not running, or stopped meanwhile.
        """
        seconds = checked_seconds(timeout)
        deadline = None if seconds is None else monotonic() + seconds
        while True:
            remaining = None if deadline is None else max(0.0, deadline - monotonic())
            moved = self.begin_wait(order_id, remaining)
            with suppress(Timeout):
                moved.get(timeout=remaining)
            if (status := self.status(order_id)).is_terminal:
                return status
            if deadline is not None and monotonic() >= deadline:
                raise TimeoutError(f"Order {order_id!r} is still {status} after {timeout} s.")

    def begin_wait(self, order_id: str, timeout: float | None = None) -> Reply[None]:
        """Be told when processing may be over for an order: look it up then. At once, if it is over already.

        Args:
            order_id: the order.
            timeout: seconds after which to be told anyway.

        Raises:
            OrderNotFound, StoreUnavailable, EngineStopped: as `order`; a reply may raise EngineStopped too.
        """
        return self._ask(partial(requests.AwaitOrder, checked_order_id(order_id), checked_seconds(timeout)))

    def drain(self, timeout: float | None = None) -> MetricsSnapshot:
        """Wait until nothing is Pending or Processing.

        Args:
            timeout: seconds, 0 to 1e9; None waits for ever.

        Returns:
            The metrics of that moment.

        Raises:
            TimeoutError: that did not happen in time.
            EngineStopped: the engine is not running, or stopped meanwhile.
        """
        seconds = checked_seconds(timeout)
        drained: Reply[MetricsSnapshot] = self._ask(requests.Drain)
        try:
            return drained.get(timeout=seconds)
        except Timeout:
            late = TimeoutError(f"{self.metrics().backlog} orders are unfinished after {timeout} s.")
            fail(drained, late)  # nobody waits for it any more
            raise late from None

    def session_secret(self) -> bytes:
        """What a server signs the sessions of its pages with: the same for all engines over this database.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return self._read(queries.session_secret)

    def metrics(self) -> MetricsSnapshot:
        """How the engine is doing. Whatever was acknowledged before is in it.

        Raises:
            EngineStopped: the engine is not running.
        """
        return self.begin_metrics().get()

    def begin_metrics(self) -> Reply[MetricsSnapshot]:
        """As `metrics`."""
        return self._ask(requests.TakeSnapshot)

    def begin_exposition(self) -> Reply[Exposition]:
        """As `begin_metrics`, with all that was measured, for a system that records it."""
        return self._ask(requests.TakeExposition)

    def chart(self, window: Window | str = Window.QUARTER_HOUR) -> Chart:
        """How many orders were accepted, completed and failed when, and how long they took, since the start.

        Args:
            window: how far back: a member of `Window`, or its value: `15m`, `day` or `week`.

        Raises:
            InvalidArgument: it is none of these.
            EngineStopped: the engine is not running.
        """
        return self.begin_chart(window).get()

    def begin_chart(self, window: Window | str = Window.QUARTER_HOUR) -> Reply[Chart]:
        """As `chart`."""
        return self._ask(partial(requests.DrawChart, checked_window(window)))

    def processors(self) -> list[ProcessorSnapshot]:
        """What each of the processors is up to at this moment, by their numbers.

        Those that were abandoned, since their handler has overrun its time, are not among them.

        Raises:
            EngineStopped: the engine is not running.
        """
        return self.begin_processors().get()

    def begin_processors(self) -> Reply[list[ProcessorSnapshot]]:
        """As `processors`."""
        return self._ask(requests.ListProcessors)

    def outlook(self, order_id: str) -> Outlook:
        """Where an order is in the queue, what it waits for, and when it is likely to be over.

        `expected` is None with fewer than twenty measured attempts, while the engine is paused for nobody knows how
        long, and for orders that wait for others of their key. What is told first of each order is judged when that
        is over: `accuracy` says how often it was right.

        Raises:
            OrderNotFound: there is no such order.
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return self.begin_outlook(order_id).get()

    def begin_outlook(self, order_id: str) -> Reply[Outlook]:
        """As `outlook`."""
        return self._ask(partial(requests.TakeOutlook, checked_order_id(order_id)))

    def rehearse(
        self,
        *,
        processors: int | None = None,
        arrivals: float = 1.0,
        pause: str | None = None,
        fail: Outage | None = None,
    ) -> Rehearsal:
        """What is likely to become of the backlog: when it is empty, how it goes, and which deadlines break.

        A snapshot of it is worked off many times under a virtual clock, by the queue's own rule, with the durations and
        arrivals that were measured lately, in a process of its own. With fewer than twenty measured attempts
        `empty_seconds` is None, and `why` says so.

        Args:
            processors: how many there are, 1 to 1000; None for as many as there are now.
            arrivals: how many orders arrive meanwhile, as a multiple of the rate of the last 15 minutes, 0 to 100.
            pause: the queue whose orders are not begun, or the user where no queue is called that.
            fail: an error that all attempts fail with that begin within some seconds from now.

        Raises:
            RehearsalsBusy: two are under way.
            RehearsalFailed: it took too long, or its process died.
            EngineStopped: the engine is not running.
        """
        return self.begin_rehearsal(Scenario(processors=processors, arrivals=arrivals, pause=pause, fail=fail)).get()

    def begin_rehearsal(self, scenario: Scenario) -> Reply[Rehearsal]:
        """As `rehearse`. Whoever sets the reply before it is there ends the rehearsal."""
        return self._ask(partial(requests.Rehearse, checked_scenario(scenario)))

    def rehearse_action(
        self, action: Action | str, wanted: OrderFilter, status: OrderStatus | str | None = None
    ) -> Rehearsal:
        """What is likely to become of the backlog after a bulk action, and in `without` the same without it. Nothing is
        changed.

        Args:
            action: as for `preview_action`.
            wanted: likewise.
            status: likewise.

        Raises:
            InvalidArgument: there is no such action, or it is not for orders in the status of the filter.
            RehearsalsBusy, RehearsalFailed, EngineStopped: as `rehearse`.
        """
        return self.begin_rehearse_action(action, wanted, status).get()

    def begin_rehearse_action(
        self, action: Action | str, wanted: OrderFilter, status: OrderStatus | str | None = None
    ) -> Reply[Rehearsal]:
        """As `rehearse_action`. Whoever sets the reply before it is there ends the rehearsal."""
        return self.begin_rehearsal(Scenario(action=checked_action(action, wanted, status)))

    def oldest(self) -> dict[OrderStatus, datetime | None]:
        """For each status, when the order was accepted that is the oldest in it; None where there is none.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return {status: None if us is None else utc(us) for status, us in self._read(queries.oldest_us).items()}

    def queue_counts(self, *, limit: int = 50) -> list[QueueCounts]:
        """How many orders of each queue stand in line and are Processing: the default queue, and those named first.

        Args:
            limit: how many queues at the most, 1 to 1,000,000.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return self._read(partial(queue_counts, limit=checked_limit(limit)))

    def webhooks_due(self) -> dict[str, datetime | None]:
        """For each webhook that is sent to, by its id, when its next event is due; None where none waits.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return {name: None if us is None else utc(us) for name, us in self._read(first_due_us).items()}

    def control(self) -> ControlSnapshot:
        """What operators have set: whether the engine is paused, and how many processors it has.

        Raises:
            EngineStopped: the engine is not running.
        """
        return self.begin_control().get()

    def begin_control(self) -> Reply[ControlSnapshot]:
        """As `control`."""
        return self._ask(requests.ReadControl)

    def pause(self, seconds: float | None = None, reason: str | None = None) -> ControlSnapshot:
        """Take orders and start none, until somebody resumes. Handlers that run go on. A restart does not end it.

        Args:
            seconds: how long at the most, above 0 to 1e9; None until `resume`.
            reason: why, in 1 to 500 characters without controls; it is shown wherever the pause is.

        Returns:
            What is set then; no handler begins any more.

        Raises:
            InvalidArgument: an argument breaks its rule.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        return self.begin_pause(seconds, reason).get()

    def begin_pause(
        self, seconds: float | None = None, reason: str | None = None, cause: Cause | None = None
    ) -> Reply[ControlSnapshot]:
        """As `pause`; who wants it goes into the audit log."""
        return self._ask(
            partial(
                requests.PauseEngine,
                seconds=checked_pause(seconds),
                reason=checked_reason(reason),
                cause=checked_cause(cause),
            )
        )

    def resume(self, reason: str | None = None) -> ControlSnapshot:
        """Start orders again; nothing changes where the engine is not paused.

        Args:
            reason: why, in 1 to 500 characters without controls; it goes into the audit log.

        Raises:
            As `pause`.
        """
        return self.begin_resume(reason).get()

    def begin_resume(self, reason: str | None = None, cause: Cause | None = None) -> Reply[ControlSnapshot]:
        """As `resume`; who wants it goes into the audit log."""
        return self._ask(partial(requests.ResumeEngine, reason=checked_reason(reason), cause=checked_cause(cause)))

    def set_processors(self, processors: int | None, reason: str | None = None) -> ControlSnapshot:
        """Have so many processors from now on, after a restart too.

        Those that are too many end when they have nothing to do.

        Args:
            processors: how many, 1 to 1000; None for as many as are configured.
            reason: why, in 1 to 500 characters without controls; it goes into the audit log.

        Raises:
            As `pause`.
        """
        return self.begin_set_processors(processors, reason).get()

    def begin_set_processors(
        self, processors: int | None, reason: str | None = None, cause: Cause | None = None
    ) -> Reply[ControlSnapshot]:
        """As `set_processors`; who wants it goes into the audit log."""
        wanted = checked_processors(processors)
        return self._ask(
            partial(requests.SetProcessors, wanted, reason=checked_reason(reason), cause=checked_cause(cause))
        )

    def engines(self) -> list[EngineState]:
        """The engines that work over the database, the eldest first: with SQLite it is this one.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return self._read(engines.listed)

    def queues(self) -> list[QueueState]:
        """How all queues are set and doing: the default one first, the others by their names.

        A queue is there from the first order that names it, or from `set_queue` on.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return self.begin_queues().get()

    def begin_queues(self) -> Reply[list[QueueState]]:
        """As `queues`."""
        return self._ask(requests.ReadQueues)

    def set_queue(
        self,
        queue: str,
        *,
        paused: bool | UnsetType = UNSET,
        concurrency: int | UnsetType | None = UNSET,
        rate: float | UnsetType | None = UNSET,
        reason: str | None = None,
    ) -> QueueState:
        """Pause or resume a queue, or give it other limits, from now on and after a restart too.

        What is not given stays as it is. Handlers that run go on.

        Args:
            queue: its name, written like an `order_id`.
            paused: whether no order of it is started.
            concurrency: how many of its orders may be Processing at once, 1 to 1,000,000; None for as many as are
                configured.
            rate: how many of its orders may be begun a second, above 0 to 1,000,000; None likewise.
            reason: why, in 1 to 500 characters without controls; it goes into the audit log.

        Returns:
            How it is set then; of a paused one, no handler begins any more.

        Raises:
            TooManyQueues: there are a thousand queues, and this is none of them.
            InvalidArgument: an argument breaks its rule, or nothing is to change.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        return self.begin_set_queue(queue, QueueChange(paused, concurrency, rate), reason).get()

    def begin_set_queue(
        self, queue: str, change: QueueChange, reason: str | None = None, cause: Cause | None = None
    ) -> Reply[QueueState]:
        """As `set_queue`; who wants it goes into the audit log."""
        known, wanted = checked_queue(queue), checked_queue_change(change)
        return self._ask(
            partial(requests.SetQueue, known, wanted, reason=checked_reason(reason), cause=checked_cause(cause))
        )

    def audit(self, *, before: int | None = None, limit: int = 100) -> list[AuditEntry]:
        """What people have done to the engine and its orders, newest first.

        Args:
            before: only entries with an `id` below this one: the last of a page leads to the next page.
            limit: how many at the most, 1 to 1,000,000.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        query = partial(audit_log.page, before=checked_sequence(before), limit=checked_limit(limit))
        return self._read(query)

    def preview_action(
        self, action: Action | str, wanted: OrderFilter, status: OrderStatus | str | None = None
    ) -> ActionPreview:
        """What `start_action` would do: how many orders it would move, and the newest of them. Nothing is changed.

        Args:
            action: cancel, retry or settle, as a member of `Action` or by its name.
            wanted: which orders, of those that it is for: a cancel is for Pending ones, a settle for those in Review, a
                retry for Failed ones and those that wait for their next attempt, or for those in Review where the
                filter names that status.
            status: what a settle settles them as: Completed or Failed.

        Raises:
            InvalidArgument: there is no such action, or it is not for orders in the status of the filter.
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        request = checked_action(action, wanted, status)
        page = self._read(partial(bulk_actions.next_orders, request=request, before=None, limit=bulk_actions.EXAMPLES))
        examples = page.orders
        while page.before is not None and len(examples) < bulk_actions.EXAMPLES:
            page = self._read(
                partial(
                    bulk_actions.next_orders,
                    request=request,
                    before=page.before,
                    limit=bulk_actions.EXAMPLES - len(examples),
                )
            )
            examples += page.orders
        return ActionPreview(self._count(request), examples)

    def start_action(
        self,
        action: Action | str,
        wanted: OrderFilter,
        reason: str | None = None,
        status: OrderStatus | str | None = None,
    ) -> BulkAction:
        """Move all orders that a filter means, some between two commits: the engine goes on meanwhile.

        It goes on after a restart, and touches no order that comes later. `action` tells how far it is.

        Args:
            action: as for `preview_action`.
            wanted: likewise.
            reason: why, in 1 to 500 characters without controls; it goes into the history of each order.
            status: as for `preview_action`.

        Raises:
            As `preview_action`.
        """
        return self.begin_action(action, wanted, reason, status).get()

    def begin_action(
        self,
        action: Action | str,
        wanted: OrderFilter,
        reason: str | None = None,
        status: OrderStatus | str | None = None,
        cause: Cause | None = None,
    ) -> Reply[BulkAction]:
        """As `start_action`, once the orders are counted; who wants it goes into their histories and the audit log."""
        request = checked_action(action, wanted, status)
        why, who = checked_reason(reason), checked_cause(cause)
        return self._ask(partial(requests.StartAction, request, self._count(request), reason=why, cause=who))

    def stop_action(self, action_id: int, reason: str | None = None) -> BulkAction:
        """Carry a bulk action out no further; what it has moved stays moved. Nothing happens where it is over.

        Args:
            action_id: its number.
            reason: why, in 1 to 500 characters without controls; it goes into the audit log.

        Raises:
            ActionNotFound: there is none of that number.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        return self.begin_stop_action(action_id, reason).get()

    def begin_stop_action(
        self, action_id: int, reason: str | None = None, cause: Cause | None = None
    ) -> Reply[BulkAction]:
        """As `stop_action`; who wants it goes into the audit log."""
        number = checked_action_id(action_id)
        return self._ask(
            partial(requests.StopAction, number, reason=checked_reason(reason), cause=checked_cause(cause))
        )

    def action(self, action_id: int) -> BulkAction:
        """A bulk action, and how far it is.

        Raises:
            ActionNotFound: there is none of that number.
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        number = checked_action_id(action_id)
        found = self._read(lambda database: bulk_actions.find(database, number))
        if found is None:
            raise ActionNotFound(number)
        return found

    def actions(self, *, before: int | None = None, limit: int = 100) -> list[BulkAction]:
        """The bulk actions, newest first, each as far as it is.

        Args:
            before: only those with an `id` below this one: the last of a page leads to the next page.
            limit: how many at the most, 1 to 1,000,000.

        Raises:
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        return self._read(partial(bulk_actions.page, before=checked_sequence(before), limit=checked_limit(limit)))

    def _count(self, request: BulkRequest) -> int:
        # In many short reads: a long one would keep the log from being begun anew.
        matched, before = self._read(partial(bulk_actions.count_orders, request=request, before=None))
        while before is not None:
            found, before = self._read(partial(bulk_actions.count_orders, request=request, before=before))
            matched += found
        return matched

    @abstractmethod
    def unready_reasons(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""

    @abstractmethod
    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend although orders are taken, in words for people; empty where there is nothing."""

    @abstractmethod
    def dead_actors(self) -> tuple[str, ...]:
        """Actors that have died, which none should, in words for people; empty while all live."""

    @abstractmethod
    def incidents(self) -> Counter[str]:
        """Unexpected errors since the start, by actor; each was logged, and the actor went on."""

    @abstractmethod
    def interrupt_waits(self) -> None:
        """Have every wait end with EngineStopped, now and from now on: for a server that is about to stop."""

    @abstractmethod
    def expect_orders(self, *, are_coming: bool) -> None:
        """Say that orders are being read, or that all have been sent which were: a commit may wait a moment for them.

        Args:
            are_coming: whether some are.
        """

    @abstractmethod
    def send(self, request: Request) -> None:
        """Pass on a request, whose reply will be set.

        Raises:
            EngineStopped: the engine is not running.
        """

    @abstractmethod
    def _read(self, query: Callable[[Database], T]) -> T:
        """Read from the database.

        Raises:
            StoreUnavailable: it did not answer.
            EngineStopped: the engine is not running.
        """

    def _ask(self, request: Callable[[Reply[T]], Request]) -> Reply[T]:
        reply: Reply[T] = Reply()
        self.send(request(reply))
        return reply
