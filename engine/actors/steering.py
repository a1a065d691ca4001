"""Steering: what operators set about the engine, recorded first and obeyed afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pykka import ActorRef

from ...store.control import read_control, write_control
from ...store.domain.act import Act, Action
from ...store.domain.control import Control
from ...store.domain.errors import OrdermillError, StoreUnavailable, TooManyQueues
from ...store.domain.queue_settings import MAX_QUEUES, QueueState
from ...store.domain.record import Move, rfc3339
from ...store.queues import queue_settings, queue_states, write_queue
from ...store.writer import Writer
from ..clock import Timer
from ..logger import EngineLogger
from ..reply import Reply, answer, fail
from ..requests import PauseEngine, ReadControl, ReadQueues, ResumeEngine, SetProcessors, SetQueue
from .base import fail_message
from .breaker import Breaker, Verdict
from .context import EngineContext
from .messages import ControlChanged, EndPause, QueueChanged, TryBreaker, TryOrder

_AGAIN_SECONDS = 1.0

Command = PauseEngine | ResumeEngine | SetProcessors | ReadControl | SetQueue | ReadQueues


class Steering:
    """Has the engine paused, resumed and resized, and its queues.

    Args:
        context: the engine's settings and clock, and what is set by now.
        database: the connection that writes.
        tell: tells an actor a message.
        tell_after: tells the recorder a message after some seconds.
        log: for what is done.
        obey_queues: called when something has been set about a queue.
    """

    def __init__(
        self,
        context: EngineContext,
        database: Writer,
        tell: Callable[[ActorRef[Any], object], None],
        tell_after: Callable[[float, object], Timer],
        log: EngineLogger,
        obey_queues: Callable[[], None],
    ) -> None:
        self._context = context
        self._obey_queues = obey_queues
        self._tell = tell
        self._tell_after = tell_after
        self._log = log
        self._commands: list[Command | EndPause | TryBreaker] = []
        self._end: Timer | None = None
        self._breaker = Breaker(context.config.breaker_failures)
        self._trial: Timer | None = None
        self.use(database)

    def use(self, database: Writer) -> None:
        """From now on, this connection is the one that writes."""
        self._database = database

    def note(self, command: Command | EndPause | TryBreaker) -> None:
        """The recorder was told this: it is done between two of its transactions."""
        self._commands.append(command)

    def work(self) -> None:
        """Do what was noted: one that goes wrong keeps no other from being done.

        Raises:
            BaseException: what was unexpected of the last that went wrong; whoever waits for its answer has got it.
        """
        commands, self._commands = self._commands, []
        failure: BaseException | None = None
        for command in commands:
            try:
                self._do(command)
            except BaseException as error:
                fail_message(command, error)
                failure = error
        if failure is not None:
            raise failure

    def _do(self, command: Command | EndPause | TryBreaker) -> None:
        match command:
            case EndPause():
                self._end_pause()
                self._try_later()
            case TryBreaker():
                self._try_breaker()
            case ReadControl(reply):
                answer(reply, self._context.control_snapshot())
            case ReadQueues(reply):
                self._answer_with(reply, self._read_queues)
            case SetQueue(reply=reply):
                self._answer_with(reply, partial(self._set_queue, command))
            case _:
                self._obey(command)

    def _answer_with(self, reply: Any, make: Callable[[], Any]) -> None:
        try:
            answer_with = make()
        except OrdermillError as error:
            fail(reply, error)
        else:
            if answer_with is not None:
                answer(reply, answer_with)

    def _read_queues(self) -> list[QueueState]:
        limits, now_us = self._context.config.work_limits, self._context.queue_clock.now_us()
        return self._database.read(partial(queue_states, configured=limits, now_us=now_us))

    def _set_queue(self, command: SetQueue) -> None:
        settings = self._database.read(partial(queue_settings, name=command.queue))
        if settings is None:
            raise TooManyQueues(command.queue, MAX_QUEUES)
        at_us = self._context.clock.now_us()
        settings = command.change.of(settings, command.reason, at_us, command.cause.acted_by)
        act = Act(Action.SET_QUEUE, f"{command.queue}: {command.change}", command.reason, cause=command.cause)
        write_queue(self._database, settings, act, at_us)
        self._obey_queues()
        self._log.warning("%s", _told(act))
        state = next(state for state in self._read_queues() if state.queue == command.queue)
        # The pool answers, once it has nothing of a paused queue that is not begun.
        self._tell(self._context.pool, QueueChanged(command.reply, state))

    def judge(self, moved: Sequence[Move]) -> None:
        """Pause or go on, as what was recorded suggests.

        Args:
            moved: the steps that a transaction has recorded.
        """
        tripped = self._breaker.judge(moved, is_open=self._context.control.error is not None)
        if tripped is None:
            return
        try:
            if tripped.verdict is Verdict.CLOSE:
                reason = "an order has succeeded that was tried"
                self._set(Control.recover, Act(Action.CLOSE_BREAKER, None, reason), Reply())
            elif not self._context.control.is_paused:
                reason = f"{self._context.config.breaker_failures} attempts in a row have failed with {tripped.error}"
                change = partial(Control.trip, reason=reason, error=tripped.error)
                self._set(change, Act(Action.OPEN_BREAKER, tripped.error, reason), Reply())
        except StoreUnavailable as error:  # the next attempt says the same again
            self._log.log_seldom(logging.ERROR, "the circuit breaker could not be recorded: %s", error)

    def _try_breaker(self) -> None:
        if self._context.control.error is None:
            return
        if not self._context.leads:  # another engine tries one
            self._try_later()
            return
        self._breaker.begin_trial(self._context.clock.now_us())
        self._context.is_trying = True
        self._tell(self._context.pool, TryOrder())
        self._try_later()

    def _try_later(self) -> None:
        if self._trial is not None:
            self._context.clock.cancel(self._trial)
        seconds = None if self._context.control.error is None else self._context.config.breaker_seconds
        self._trial = None if seconds is None else self._tell_after(seconds, TryBreaker())

    def _obey(self, command: PauseEngine | ResumeEngine | SetProcessors) -> None:
        change: Callable[[Control], Control]
        match command:
            case PauseEngine(seconds=seconds, reason=reason):
                until_us = None if seconds is None else self._context.clock.now_us() + round(seconds * 1e6)
                change = partial(Control.pause, until_us=until_us, reason=reason)
                act = Act(Action.PAUSE, None if until_us is None else f"until {rfc3339(until_us)}", reason)
            case ResumeEngine(reason=reason):
                change = Control.resume
                act = Act(Action.RESUME, None, reason)
            case SetProcessors(processors=processors, reason=reason):
                change = partial(Control.resize, processors=processors)
                act = Act(Action.SET_PROCESSORS, "as configured" if processors is None else str(processors), reason)
        try:
            self._set(change, act._replace(cause=command.cause), command.reply)
        except StoreUnavailable as error:
            fail(command.reply, error)

    def _end_pause(self) -> None:
        until_us = self._context.control.paused_until_us
        if until_us is None:
            return
        if until_us > self._context.clock.now_us():
            self._end_later()
            return
        try:
            resume = partial(Control.resume_after, until_us=until_us)
            self._set(resume, Act(Action.RESUME, None, "the time of the pause is over"), Reply())
        except StoreUnavailable as error:
            self._log.log_seldom(logging.ERROR, "the pause is over, which could not be recorded: %s", error)
            self._tell_after(_AGAIN_SECONDS, EndPause())

    def look_around(self) -> None:
        """Obey what was set by way of another engine.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        control = self._database.read(read_control)
        if control != self._context.control:
            self._adopt(control, Reply())

    def _set(self, change: Callable[[Control], Control | None], act: Act, reply: Any) -> None:
        control, is_changed = write_control(self._database, change, act, self._context.clock.now_us())
        if is_changed:
            self._log.warning("%s", _told(act))
        self._adopt(control, reply)

    def _adopt(self, control: Control, reply: Any) -> None:
        if control.error != self._context.control.error:
            self._breaker.begin_anew()
            self._context.is_trying = False
        self._context.control = control
        self._end_later()
        self._try_later()
        # The pool answers, once it obeys.
        self._tell(self._context.pool, ControlChanged(reply, self._context.control_snapshot()))

    def _end_later(self) -> None:
        if self._end is not None:
            self._context.clock.cancel(self._end)
        until_us = self._context.control.paused_until_us
        seconds = None if until_us is None else max(0.0, (until_us - self._context.clock.now_us()) / 1e6)
        self._end = None if seconds is None else self._tell_after(seconds, EndPause())


def _told(act: Act) -> str:
    what = act.action if act.target is None else f"{act.action} {act.target}"
    who = "" if act.cause.acted_by is None else f" by {act.cause.acted_by}"
    why = "" if act.reason is None else f": {act.reason}"
    return f"{what}{who}{why}"
