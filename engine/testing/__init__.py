"""For tests of your own handlers: orders with defaults, clocks that move when you say so, a handler to hold."""

from .clock import START_US, ManualClock, WatchedClock
from .handlers import Held
from .orders import make_order

__all__ = ["START_US", "Held", "ManualClock", "WatchedClock", "make_order"]
