"""How many connections the system allows."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from ordermill.http.transport import tuning


@pytest.fixture
def soft_limit() -> Iterator[int]:
    """A limit of open files for this process, which is what it was in the end."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, before[1]))
    yield 600
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_some_files_are_left_for_all_that_is_no_connection(soft_limit: int) -> None:
    assert tuning.connections_allowed() == soft_limit - 256


def test_as_many_connections_are_allowed_as_were_asked_for(soft_limit: int) -> None:
    tuning.allow_connections(2 * soft_limit)

    assert tuning.connections_allowed() == 2 * soft_limit
