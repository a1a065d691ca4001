"""What operators have set about an engine: whether it is paused, and how many processors it has."""

from __future__ import annotations

import msgspec


class Control(msgspec.Struct, frozen=True):
    """What the database holds of it. Times are microseconds since 1970-01-01T00:00:00Z."""

    is_paused: bool = False
    """Whether no order is started."""
    paused_until_us: int | None = None
    """When the pause ends by itself; None where somebody has to end it, or where there is none."""
    reason: str | None = None
    """Why it is paused, in words for people; None where nobody said."""
    processors: int | None = None
    """How many processors there are to be; None for as many as are configured."""
    error: str | None = None
    """The class of error that the engine has paused itself for; None where somebody has, or where it is not paused."""

    def pause(self, until_us: int | None, reason: str | None, error: str | None = None) -> Control:
        """The same, paused."""
        return Control(True, until_us, reason, self.processors, error)

    def resume(self) -> Control:
        """The same, not paused."""
        return Control(processors=self.processors)

    def resize(self, processors: int | None) -> Control:
        """The same with so many processors; None for as many as are configured."""
        return msgspec.structs.replace(self, processors=processors)
