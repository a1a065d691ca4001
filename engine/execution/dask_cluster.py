"""Dask cluster: its workers, and the calls that they have.

A scheduler of Dask's runs a call again where the worker has died that ran it, and tells nobody. Here each run is an
attempt, and whether there is another one is not for Dask to say: so each call is for one worker, which no other stands
in for, and what a worker had when it went is known at once.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as ThreadFuture
from contextlib import suppress
from typing import Any

from ...store.domain.order import Order
from .attempt import Lost, NotBegun, Outcome
from .executor_runner import attempt_anywhere
from .handler import describe
from .pickled_handler import PickledHandler
from .runner import Begin, Runners
from .trace_carrier import Carrier

Client = Any
"""A `distributed.Client`, of whose methods only some have types."""

_CONNECT_SECONDS = 5.0
"""How long a scheduler may take to answer."""
_LOOK_SECONDS = 1.0
"""How often the scheduler is asked for its workers: it tells of those that come and go, not what they are up to."""
_CLOSED = "the connection to the Dask scheduler was closed"


class _Call:
    """A call of the handler that one worker is given."""

    def __init__(self) -> None:
        self.key = f"ordermill-{uuid.uuid4().hex}"
        self.task = asyncio.current_task()
        self.fate: Outcome | None = None
        """What has become of it, where its worker is gone."""

    def end(self, fate: Outcome) -> None:
        """Wait for it no longer."""
        self.fate = fate
        if self.task is not None:
            self.task.cancel()


class _Worker:
    """A worker of the cluster.

    Args:
        address: where the scheduler reaches it.
        directory: its own folder. Started again it may get the address that it had before, but never the folder.
    """

    def __init__(self, address: str, directory: str) -> None:
        self.address = address
        self.directory = directory
        self.threads = 0
        """How many calls it may run now."""
        self.is_ready = False
        """Whether it is known to be able to run the handler."""
        self.is_asked = False
        """Whether somebody finds that out."""
        self.trouble: str | None = None
        """Why it cannot."""
        self.calls: set[_Call] = set()
        self._has_company: bool | None = None

    @property
    def slots(self) -> int:
        """How many calls it may be given all in all."""
        return self.threads if self.is_ready else 0

    @property
    def room(self) -> int:
        """How many more."""
        return self.slots - len(self.calls)

    def lost(self, why: str = "") -> Lost:
        """What has become of a call that it had; where it had several when it went, any of them may be the reason."""
        if self._has_company is None:
            self._has_company = len(self.calls) > 1
        return Lost(why or f"the Dask worker {self.address} is gone", self._has_company)


class DaskCluster(Runners):
    """A connection to a cluster, in a thread of its own, which connects anew by itself.

    Args:
        handler: what its workers call with each order.
        timeout: the seconds that the handler may take; None for any time.
        name: the address of its scheduler, as people are told of it.
        connect: makes a client, which is asynchronous.
        options: what else Dask is to be told of each call, such as `resources`.
    """

    def __init__(
        self,
        handler: PickledHandler,
        timeout: float | None,
        name: str,
        connect: Callable[..., Client],
        options: Mapping[str, Any],
    ) -> None:
        self._handler = handler
        self._timeout = timeout
        self._name = name
        self._connect = connect
        self._options = {**options, "pure": False, "retries": 0, "allow_other_workers": False}
        self._allowed: Sequence[str] | None = self._options.pop("workers", None)
        self._tell: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None
        self._is_told = threading.Event()
        # What follows belongs to the thread of the connection.
        self._loop: asyncio.AbstractEventLoop
        self._following: asyncio.Task[None]
        self._changed: asyncio.Event
        self._client: Client | None = None
        self._workers: dict[str, _Worker] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._fault: str | None = None
        # What others read.
        self._slots = 0
        self._trouble: str | None = None

    def open(self) -> str | None:
        """Connect, and see whether the workers that are there can run the handler; what keeps them from that."""
        self._is_told.clear()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), name="ordermill-dask", daemon=True)
        self._thread.start()
        self._is_told.wait(2 * _CONNECT_SECONDS)
        workers = list(self._workers.values())
        is_hopeless = bool(workers) and all(worker.trouble for worker in workers)
        return self._fault or (self._trouble if is_hopeless else None)

    def watch(self, tell: Callable[[], object]) -> None:
        """Have somebody told, in any thread, when the number of slots has changed."""
        self._tell = tell

    def slots(self) -> int:
        """How many calls its workers can run at once."""
        return self._slots

    def trouble(self) -> str | None:
        """What keeps the cluster from running anything, in words for people; None where nothing does."""
        return self._trouble

    def close(self) -> None:
        """Close the connection: what the workers have not begun, they will not begin."""
        self._tell = lambda: None
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._following.cancel)
            thread.join()

    def begin(self, order: Order, trace: Carrier, begin: Begin) -> ThreadFuture[Outcome]:
        """Have a worker put an order through the handler, which is given up where the result is cancelled.

        Args:
            order: the order.
            trace: what it is part of.
            begin: told that the handler may begin.
        """
        attempt = self._attempt(order, trace, begin)
        try:
            return asyncio.run_coroutine_threadsafe(attempt, self._loop)
        except RuntimeError:  # it is closed
            attempt.close()
            raise CancelledError from None

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._following = asyncio.create_task(self._follow())
        with suppress(asyncio.CancelledError):
            await self._following

    async def _follow(self) -> None:
        while True:
            client = self._connect(timeout=_CONNECT_SECONDS)
            try:
                await client
                client.subscribe_topic("all", self._hear)
                self._client = client
                await self._look_at_all(client)
            except Exception as error:
                self._fault = f"the Dask scheduler at {self._name} cannot be reached: {describe(error)}"
            finally:
                self._client = None
                self._forget_all()
                with suppress(Exception):  # it is of no use any more, however that ends
                    client.unsubscribe_topic("all")
                    await asyncio.wait_for(client.close(), _CONNECT_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look_at_all(self, client: Client) -> None:
        while client.status == "running":
            self._changed.clear()
            try:
                answer = await asyncio.wait_for(client.scheduler.identity(), _CONNECT_SECONDS)
            except TimeoutError:
                self._fault = f"the Dask scheduler at {self._name} does not answer"  # what is under way goes on
            else:
                self._fault = None
                self._take_in(client, answer["workers"])
            self._publish()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK_SECONDS)
        raise ConnectionError("the connection was lost")

    def _take_in(self, client: Client, found: Mapping[str, Any]) -> None:
        for address, worker in list(self._workers.items()):
            if address not in found or found[address]["local_directory"] != worker.directory:
                self._lose(address, None)
        for address, told in found.items():
            if self._allowed is not None and {address, told["host"], told["name"]}.isdisjoint(self._allowed):
                continue
            worker = self._workers.setdefault(address, _Worker(address, told["local_directory"]))
            worker.threads = told["nthreads"] if told["status"] == "running" else 0
            if not (worker.is_ready or worker.is_asked):
                worker.is_asked = True
                self._asking.add(asking := asyncio.create_task(self._ask(client, worker)))
                asking.add_done_callback(self._asking.discard)

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        match event[1]:
            case {"action": "add-worker"}:
                self._changed.set()
            case {"action": "remove-worker", "worker": address, **told}:
                # Whatever else it was to have waits for a worker of its address, and has not begun.
                self._lose(address, {*told["processing-tasks"], *told["lost-computed-tasks"]})
                self._publish()

    async def _ask(self, client: Client, worker: _Worker) -> None:
        """Find out whether a worker can run the handler: have it load it."""
        outcome = await self._send(client, worker, None, {})
        worker.is_asked = False
        self._note(worker, outcome.trouble if isinstance(outcome, NotBegun) else None)

    async def _attempt(self, order: Order, trace: Carrier, begin: Begin) -> Outcome:
        client = self._client
        worker = max(self._workers.values(), key=lambda worker: worker.room, default=None)
        if client is None or client.status != "running" or worker is None or worker.room <= 0:
            return NotBegun(self._trouble or "no worker of the Dask cluster has a slot to spare")
        begin(is_observed=False)
        return await self._send(client, worker, order, trace)

    async def _send(self, client: Client, worker: _Worker, order: Order | None, trace: Carrier) -> Outcome:
        from distributed import KilledWorker

        call = _Call()
        worker.calls.add(call)
        future: Any = None
        try:
            future = client.submit(
                _attempt_there,
                worker.directory,
                self._handler,
                order,
                trace,
                self._timeout,
                key=call.key,
                workers=[worker.address],
                **self._options,
            )
            outcome: Outcome = await future
        except asyncio.CancelledError:
            if call.fate is None:  # nobody waits for it any more
                raise
            return call.fate
        except KilledWorker:
            return worker.lost()
        except CancelledError:
            return worker.lost(f"the connection to the Dask scheduler at {self._name} was lost")
        except Exception as error:  # what runs there raises nothing, so it did not run
            self._note(worker, describe(error))
            return NotBegun(worker.trouble)
        finally:
            worker.calls.discard(call)
            if future is not None:
                future.release()
        return worker.lost(outcome.why) if isinstance(outcome, Lost) else outcome

    def _note(self, worker: _Worker, trouble: str | None) -> None:
        worker.is_ready = trouble is None
        worker.trouble = trouble
        self._publish()

    def _lose(self, address: str, begun: Container[str] | None) -> None:
        worker = self._workers.pop(address, None)
        if worker is not None:
            for call in worker.calls:
                is_begun = begun is None or call.key in begun
                call.end(worker.lost() if is_begun else NotBegun(f"the Dask worker {address} is gone"))

    def _forget_all(self) -> None:
        for worker in self._workers.values():
            for call in worker.calls:
                call.end(worker.lost(self._fault or _CLOSED))
        self._workers.clear()
        self._publish()

    def _publish(self) -> None:
        workers = self._workers.values()
        slots = 0 if self._fault is not None else sum(worker.slots for worker in workers)
        troubles = [worker.trouble for worker in workers if worker.trouble is not None]
        if slots:
            self._trouble = None
        elif self._fault is not None:
            self._trouble = self._fault
        elif troubles:
            self._trouble = f"the workers of the Dask cluster at {self._name} cannot run the handler: {troubles[0]}"
        elif workers:
            self._trouble = f"no worker of the Dask cluster at {self._name} is ready"
        else:
            self._trouble = f"the Dask cluster at {self._name} has no worker"
        if slots or len(troubles) == len(workers):
            self._is_told.set()
        if slots != self._slots:
            self._slots = slots
            self._tell()


def _attempt_there(directory: str, *call: Any) -> Outcome:
    from distributed import get_worker

    if get_worker().local_directory != directory:
        return Lost("its Dask worker has died, and was started again")
    return attempt_anywhere(*call)
