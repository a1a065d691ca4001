"""The sender: sends what is in the outbox, from an event loop in a thread of its own.

Each webhook has a queue and so many requests at once: one that is slow or dead delays no other, and no order. What has
been sent counts once the recorder has recorded it: whatever ends the engine before that has it sent again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pykka import ActorDeadError

from ...store import outbox
from ...store.domain.errors import StoreUnavailable
from ...store.domain.webhook import DueDelivery, Target, Tried
from ...store.reader import Reader
from ...store.statements import Database
from ..actors.context import EngineContext, Incident
from ..actors.messages import DeliveriesTried
from ..clock import Timer
from ..execution.handler import describe
from ..logger import EngineLogger
from ..reply import Reply
from .schedule import retry_delay

if TYPE_CHECKING:
    from .client import WebhookClient

T = TypeVar("T")

_GONE = 410
_FAILURES_AT_FULL_SPEED = 20
_DEAD_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_STOP_SECONDS = 5.0

_log = EngineLogger("ordermill.engine.webhooks")


class WebhookSender:
    """Sends events to the webhooks of an engine. It has no thread while there is no webhook.

    Args:
        context: the engine's settings and clock, and its recorder.
        reader: of the database; for this alone.
    """

    def __init__(self, context: EngineContext, reader: Reader) -> None:
        self._context = context
        self._reader = reader
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopping = False
        self._queues: dict[int, _Queue] = {}
        self._tried: list[tuple[Tried, asyncio.Future[None]]] = []

    def wake(self) -> None:
        """Look what there is to send: something was written, or a webhook was changed. From any thread."""
        with self._lock:
            if self._is_stopping:
                return
            if self._thread is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, name="ordermill-webhooks", daemon=True)
                self._thread.start()
            elif self._loop is not None:
                self._loop.call_soon_threadsafe(self._changed.set)

    def stop(self) -> None:
        """Send nothing more. What is under way is sent again by the next engine, if it was not recorded."""
        with self._lock:
            self._is_stopping = True
            thread = self._thread
            if self._loop is not None:
                with suppress(RuntimeError):  # it has ended
                    self._loop.call_soon_threadsafe(self._changed.set)
        if thread is not None:
            thread.join(_STOP_SECONDS)
        self._reader.close()

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        self._changed = asyncio.Event()
        try:
            while not self._is_stopping:
                try:
                    loop.run_until_complete(self._send())
                except Exception as error:  # nobody else would go on
                    self._context.incidents.note(Incident("WebhookSender", describe(error)))
                    _log.exception("unexpected error in the sender of webhooks: it begins anew")
                    time.sleep(_AGAIN_SECONDS)
        finally:
            with self._lock:
                self._loop = None
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _send(self) -> None:
        from .client import WebhookClient  # what it imports takes a while: only who has webhooks pays for that

        allow_private = self._context.config.allow_private_webhooks
        async with WebhookClient(allow_private=allow_private) as client, asyncio.TaskGroup() as tasks:
            recording = tasks.create_task(self._record())
            try:
                while not self._is_stopping:
                    self._changed.clear()
                    # One engine sends: the others are here for the time when they lead.
                    now_us = self._context.clock.now_us()
                    found = await self._read(partial(outbox.targets, now_us=now_us)) if self._context.leads else []
                    self._sort(found, client, tasks)
                    await self._changed.wait()
            finally:
                for queue in self._queues.values():
                    queue.end()
                self._queues.clear()
                recording.cancel()

    def _sort(self, found: Iterable[Target], client: WebhookClient, tasks: asyncio.TaskGroup) -> None:
        targets = {target.number: target for target in found}
        for number in self._queues.keys() - targets.keys():
            self._queues.pop(number).end()
        for number, target in targets.items():
            queue = self._queues.get(number)
            if queue is None:
                self._queues[number] = queue = _Queue(self._context, self._read, self._note, client)
                queue.begin(tasks)
            queue.target = target
            queue.look()

    async def _read(self, query: Callable[[Database], T]) -> T:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await loop.run_in_executor(None, self._reader.read, query)
            except StoreUnavailable as error:
                _log.warning("the outbox cannot be read for a moment: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _note(self, tried: Tried) -> None:
        """Have it recorded how an attempt went; returns when it is."""
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tried.append((tried, recorded))
        self._has_tried.set()
        await recorded

    async def _record(self) -> None:
        loop = asyncio.get_running_loop()
        self._has_tried = asyncio.Event()
        while True:
            await self._has_tried.wait()
            self._has_tried.clear()
            batch, self._tried = self._tried, []
            while not await self._tell_recorder([tried for tried, _ in batch], loop):
                await asyncio.sleep(_AGAIN_SECONDS)
            for _, recorded in batch:
                if not recorded.done():
                    recorded.set_result(None)

    async def _tell_recorder(self, tries: list[Tried], loop: asyncio.AbstractEventLoop) -> bool:
        reply: Reply[None] = Reply()
        done = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done.set)

        reply.when_done(tell)
        try:
            self._context.recorder.tell(DeliveriesTried(tries, reply))
            await done.wait()
            reply.get()
        except (StoreUnavailable, ActorDeadError):
            return False
        return True


class _Queue:
    """What is to be sent to one webhook, so much at once."""

    target: Target

    def __init__(
        self,
        context: EngineContext,
        read: Callable[[Callable[[Database], Any]], Awaitable[Any]],
        note: Callable[[Tried], Awaitable[None]],
        client: WebhookClient,
    ) -> None:
        self._context = context
        self._read = read
        self._note = note
        self._client = client
        self._changed = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._timer: Timer | None = None
        self._failures = 0  # in a row

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Send from now on."""
        self._tasks = tasks
        self._task = tasks.create_task(self._run())

    def end(self) -> None:
        """Send nothing more."""
        self._set_timer(None)
        self._task.cancel()
        for task in self._sending.values():
            task.cancel()

    def look(self) -> None:
        """See what is due."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            if self._failures > _FAILURES_AT_FULL_SPEED:  # it is dead for now: one event at a time finds out about it
                most = 1
                await asyncio.sleep(_DEAD_SECONDS)
            else:
                most = self._context.config.webhook_concurrency
            if len(self._sending) < most and self._context.leads:
                now_us = self._context.queue_clock.now_us()
                number = self.target.number
                busy = set(self._sending)  # some of which may be over when the reading is
                due = await self._read(partial(outbox.due, webhook=number, now_us=now_us, limit=2 * most))
                for delivery in due:
                    if len(self._sending) < most and delivery.delivery not in busy:
                        self._sending[delivery.delivery] = self._tasks.create_task(self._deliver(delivery))
                next_us = await self._read(partial(outbox.next_due_us, webhook=number, now_us=now_us))
                now_us = self._context.queue_clock.now_us()
                self._set_timer(None if next_us is None else max(0.0, (next_us - now_us) / 1e6))
            await self._changed.wait()

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._context.clock.cancel(self._timer)
        self._timer = None
        if seconds is not None:
            loop = asyncio.get_running_loop()

            def look() -> None:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self.look)

            self._timer = self._context.clock.call_after(seconds, look)

    async def _deliver(self, due: DueDelivery) -> None:
        try:
            tried = await self._try(due)
            if not tried.is_delivered:
                why = tried.attempt.error or tried.attempt.status
                _log.info("webhook %s did not take %s: %s", self.target.webhook_id, due.event_id, why)
            self._failures = 0 if tried.is_delivered else self._failures + 1
            await self._note(tried)
        finally:
            del self._sending[due.delivery]
            self.look()

    async def _try(self, due: DueDelivery) -> Tried:
        attempt, retry_after = await self._client.send(self.target, due, self._context.clock.now_us())
        number = due.attempts + 1
        is_gone = attempt.status == _GONE
        is_delivered = attempt.status is not None and 200 <= attempt.status < 300
        if is_gone or is_delivered:
            return Tried(due.delivery, number, attempt, None, is_delivered, is_gone)
        delay = retry_delay(number, retry_after, attempt.at_us)
        due_us = None if delay is None else self._context.queue_clock.now_us() + round(delay * 1e6)
        return Tried(due.delivery, number, attempt, due_us, is_delivered=False)
