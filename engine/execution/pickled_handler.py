"""Pickled handler: a handler on its way to another process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import lru_cache

from ...store.domain.errors import InvalidConfiguration
from .attempt import NotBegun
from .handler import Handler, describe


class PickledHandler:
    """A handler on its way to other processes: one that cannot be loaded there does no harm to the process.

    Args:
        handler: what is called with each order.
        dumps: pickles it.

    Raises:
        InvalidConfiguration: the handler cannot be sent to another process.
    """

    def __init__(self, handler: Handler, dumps: Callable[[Handler], bytes] = pickle.dumps) -> None:
        try:
            self._pickle = dumps(handler)
        except Exception as error:
            raise InvalidConfiguration(
                f"The handler cannot be sent to another process ({error}): write it as a function of a module."
            ) from error

    def load(self) -> Handler | NotBegun:
        """The handler; or why it cannot be loaded, for which no order is to blame."""
        try:
            return _load(self._pickle)
        except BaseException as error:
            return NotBegun(f"the handler cannot be loaded in another process: {describe(error)}")


@lru_cache(maxsize=1)
def _load(handler: bytes) -> Handler:
    loaded: Handler = pickle.loads(handler)
    return loaded
