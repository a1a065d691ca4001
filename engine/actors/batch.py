"""Batch: what goes into one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat

from ...store.domain.act import Act, Action
from ...store.domain.claim import Claim
from ...store.domain.idempotency_key import IdempotencyKey
from ...store.domain.order import Order
from ...store.domain.record import ENGINE, Cause, Move
from ...store.domain.webhook import Tried
from ..requests import CancelOrder, RescheduleOrder, RetryOrder, SettleOrder, SubmitOrders
from .messages import DeliveriesTried

Command = CancelOrder | RetryOrder | SettleOrder | RescheduleOrder


@dataclass(kw_only=True)
class Batch:
    """What goes into one transaction.

    Once it is asked for all orders, causes or steps, nothing more is put in.
    """

    submissions: list[SubmitOrders] = field(default_factory=list)
    """New orders."""
    commands: list[tuple[Command, Move]] = field(default_factory=list)
    """What people want of single orders, each with the step that does it."""
    handled: list[Move] = field(default_factory=list)
    """Steps out of Processing."""
    claim: Claim | None = None
    """What is to be Processing then."""
    tried: list[DeliveriesTried] = field(default_factory=list)
    """How attempts to send events went."""
    is_part: bool = False
    """Whether it is all that is left of a batch that could not be recorded: one submission, one step, or the claim."""

    @cached_property
    def orders(self) -> list[Order]:
        """All new orders, in the sequence in which they came."""
        return [order for submission in self.submissions for order in submission.orders]

    @cached_property
    def causes(self) -> list[Cause]:
        """Who brought each of the orders; empty where nothing is known."""
        if not any(submission.causes for submission in self.submissions):
            return []
        return [
            cause
            for submission in self.submissions
            for cause in submission.causes or repeat(ENGINE, len(submission.orders))
        ]

    @property
    def keys(self) -> list[IdempotencyKey | None]:
        """The idempotency key that came with each of the orders; empty where none did."""
        if all(submission.idempotency is None for submission in self.submissions):
            return []
        return [submission.idempotency for submission in self.submissions for _ in submission.orders]

    @property
    def tries(self) -> list[Tried]:
        """How each attempt to send an event went."""
        return [tried for told in self.tried for tried in told.tries]

    @cached_property
    def moves(self) -> list[Move]:
        """All steps of orders that are stored already."""
        return [step for _, step in self.commands] + self.handled

    @property
    def acts(self) -> list[tuple[Move, Act]]:
        """What the audit log has of the commands, each with the step that does it."""
        return [
            (step, Act(ACTIONS[type(command)], command.order_id, command.reason, 1, command.cause))
            for command, step in self.commands
        ]

    def parts(self) -> Iterator[Batch]:
        """Everything in a batch of its own."""
        for submission in self.submissions:
            yield Batch(submissions=[submission], is_part=True)
        for command in self.commands:
            yield Batch(commands=[command], is_part=True)
        for result in self.handled:
            yield Batch(handled=[result], is_part=True)
        if self.claim is not None:
            yield Batch(claim=self.claim, is_part=True)
        for tried in self.tried:
            yield Batch(tried=[tried], is_part=True)


ACTIONS: dict[type[Command], Action] = {
    CancelOrder: Action.CANCEL,
    RetryOrder: Action.RETRY,
    SettleOrder: Action.SETTLE,
    RescheduleOrder: Action.RESCHEDULE,
}
