"""Runner: where a processor runs the handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from ...store.domain.order import Order
from .attempt import Outcome


class Begin(Protocol):
    """Called, from any thread, before the handler is; several times where it was thought to begin and did not."""

    def __call__(self, *, is_observed: bool) -> object:
        """The handler is called now; or, where its beginning cannot be observed, at any time from now on."""


class Runner:
    """Where one processor runs the handler."""

    begins_at_once: ClassVar[bool] = True
    """Whether the handler begins as soon as `run` is called."""

    def check(self) -> str | None:
        """Find out, before there is a processor, whether it will work.

        Returns:
            What will keep it from working, in words for people; None where nothing does, or nobody can tell at once.
        """
        return None

    def prepare(self) -> str | None:
        """Get ready, at the start and after every trouble; in the processor's thread.

        Returns:
            What keeps it from working, in words for people; None where nothing does.
        """
        return None

    def run(self, order: Order, begin: Begin) -> Outcome:
        """Put an order through the handler, in the processor's thread.

        Args:
            order: the order.
            begin: told that the handler begins, where that is later.
        """
        raise NotImplementedError

    def withdraw(self) -> None:
        """Let nothing begin any more, as far as that is possible; from any thread."""

    def kill(self) -> None:
        """End what runs, where that is possible, and let nothing begin any more; from any thread."""

    def close(self) -> None:
        """Let go of everything, in the processor's thread."""


class Runners:
    """Gives each processor a place to run the handler at."""

    def make(self) -> Runner:
        """A place for one processor."""
        raise NotImplementedError

    def open(self) -> str | None:
        """Get what all of them share.

        Returns:
            What keeps the engine from starting, in words for people; None where nothing does.
        """
        return None

    def slots(self) -> int | None:
        """How many handlers can run at once, however many processors there are; None for any number."""
        return None

    def watch(self, tell: Callable[[], object]) -> None:
        """Have somebody told, in any thread, when that has changed."""

    def close(self) -> None:
        """Let go of what all of them share; it may be opened again."""
