"""What the tests of the benchmarks share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill.store.audit import Audit, audit
from ordermill.store.sqlite import database as store


@pytest.fixture
def look_at() -> Callable[[Path], Audit]:
    """Audits a database."""

    def look(path: Path) -> Audit:
        readers = store.open_readers(path, max_connections=1)
        try:
            with readers.connection_context():
                return audit(readers)
        finally:
            readers.close_all()

    return look
