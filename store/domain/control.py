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

    def resume_after(self, until_us: int) -> Control | None:
        """The same, not paused; None where it is not that pause any more, which ends by itself at this time."""
        return self.resume() if self.paused_until_us == until_us else None

    def trip(self, reason: str, error: str) -> Control | None:
        """The same, paused for a class of error; None where it is paused already."""
        return None if self.is_paused else self.pause(None, reason, error)

    def recover(self) -> Control | None:
        """The same, not paused; None where it is not paused for a class of error."""
        return None if self.error is None else self.resume()

    def resize(self, processors: int | None) -> Control:
        """The same with so many processors; None for as many as are configured."""
        return msgspec.structs.replace(self, processors=processors)
