"""What the tests of the command line share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Set back the level that a command sets for all of this process."""
    ours = logging.getLogger("ordermill")
    before = ours.level
    yield
    ours.setLevel(before)
