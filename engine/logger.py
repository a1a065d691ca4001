"""The engine's loggers: what the program has put behind them may fail, and the engine goes on."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

_SELDOM_SECONDS = 60.0


class EngineLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that raises nothing.

    Handlers, filters and formatters are the program's. One that raises would otherwise end what it was told of: a
    commit would be taken for a failed one, or a stop would be left halfway.

    Args:
        name: of the logger.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})
        self._said: dict[str, float] = {}

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Log it as it is."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a message, as `logging.Logger.log` does; an error of a handler goes to the standard error stream."""
        try:
            super().log(level, msg, *args, stacklevel=2, **kwargs)
        except BaseException as error:
            if is_interrupt(error):
                raise
            with suppress(Exception):  # that stream may be gone as well
                traceback.print_exc()

    def log_seldom(self, level: int, msg: str, *args: object) -> None:
        """Log a message, unless one of the same text was logged within a minute.

        For what goes wrong again and again, a thousand times a second perhaps. Use it in one thread.

        Args:
            level: as of `log`.
            msg: what is the same each time: one of a few constants, since they are remembered.
            args: what may differ.
        """
        now = time.monotonic()
        if now - self._said.get(msg, -_SELDOM_SECONDS) >= _SELDOM_SECONDS:
            self._said[msg] = now
            self.log(level, msg, *args)


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is a Ctrl-C, which is nobody's fault and must not be held back."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
