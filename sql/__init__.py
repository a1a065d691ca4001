"""The SQL scripts: the one source of the schema, and sample data."""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> str:
    """The text of a script.

    Args:
        name: its file name, such as `schema.sql`.
    """
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
