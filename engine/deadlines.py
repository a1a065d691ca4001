"""Orders that are to be completed by a time: how likely they will be is found out before they are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from pykka import ActorDeadError

from ..store.domain.order import Order
from ..store.domain.outcome import Acceptance, Outcome, PromisedAcceptance
from ..store.domain.outlook import Estimate, Promised
from ..store.domain.record import new_record
from .actors.messages import NoteEstimates
from .reply import Reply, answer, fail
from .requests import Request, SubmitOrders, TakePromises

if TYPE_CHECKING:
    from .actors.context import EngineContext


def has_deadline(order: Order) -> bool:
    """Whether an order is to be completed by a time."""
    return order.complete_by is not None


class DeadlineCheck:
    """Has the orders of a submission stored that are likely enough to be completed in time, and all that say no time.

    Args:
        request: the submission.
        least: how likely that has to be, 0 to 1.
        pass_on: passes on a request; raises EngineStopped where the engine is not running.
        context: the engine's actors.
    """

    def __init__(
        self, request: SubmitOrders, least: float, pass_on: Callable[[Request], None], context: EngineContext
    ) -> None:
        self._request = request
        self._least = least
        self._pass_on = pass_on
        self._context = context

    def begin(self) -> None:
        """Ask what can be promised; the rest follows, and then the submission's reply is set.

        Raises:
            EngineStopped: the engine is not running.
        """
        promised: Reply[list[Promised | None]] = Reply()
        promised.when_done(partial(self._guard, partial(self._store, promised)))
        self._pass_on(TakePromises(self._request.orders, promised))

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:  # it belongs to whoever asked
            fail(self._request.reply, error)

    def _store(self, promised: Reply[list[Promised | None]]) -> None:
        request, known = self._request, promised.get()
        likely = [index for index, of in enumerate(known) if not self._is_unlikely(of)]
        stored: Reply[list[Acceptance]] = Reply()
        stored.when_done(partial(self._guard, partial(self._answer, known, likely, stored)))
        if not likely:
            stored.set([])
            return
        orders = tuple([request.orders[index] for index in likely])
        causes = tuple([request.causes[index] for index in likely]) if request.causes else ()
        self._pass_on(request._replace(orders=orders, causes=causes, reply=stored))

    def _is_unlikely(self, promised: Promised | None) -> bool:
        confidence = None if promised is None else promised.promise.confidence
        return confidence is not None and confidence < self._least

    def _answer(self, known: Sequence[Promised | None], likely: Sequence[int], stored: Reply[list[Acceptance]]) -> None:
        acceptances = dict(zip(likely, stored.get(), strict=True))
        now_us = self._context.clock.now_us()
        answers: list[Acceptance] = []
        estimates: list[Estimate] = []
        for index, (order, promised) in enumerate(zip(self._request.orders, known, strict=True)):
            outcome, record = acceptances.get(index) or (Outcome.UNLIKELY, new_record(order, 0, now_us, now_us))
            if promised is None or outcome not in (Outcome.ACCEPTED, Outcome.UNLIKELY):
                answers.append(Acceptance(outcome, record))
                continue
            answers.append(PromisedAcceptance(outcome, record, promised.promise))
            if record.sequence and promised.estimate is not None:
                estimates.append(promised.estimate._replace(sequence=record.sequence))
        answer(self._request.reply, answers)
        if estimates:
            with suppress(ActorDeadError):
                self._context.recorder.tell(NoteEstimates(estimates))
