"""Address: how a database is named, and the one file that this means."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote

from ..domain.errors import DatabaseRefused, InvalidConfiguration


def locate(address: str | os.PathLike[str]) -> Path:
    """The file that an address names: absolute and without symbolic links, so that it stays the same file.

    Args:
        address: a path, or a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`.

    Raises:
        InvalidConfiguration: the address names no file, or a kind of database that is not supported.
    """
    text = os.fspath(address)
    scheme, separator, rest = text.partition("://")
    if separator:
        text = _path_of_url(text, scheme, rest)
    elif text.startswith(("sqlite:", "file:")):
        raise InvalidConfiguration(f"{text} is half a URL: write a path, or sqlite:///orders.db.")
    if not text or text == ":memory:":
        raise InvalidConfiguration(
            "The engine needs a database file, since readers open it too: name one, in a temporary folder if you like."
        )
    try:
        text.encode()  # the console, the log and SQLite all take names as UTF-8
        return Path(os.path.realpath(text))
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL
        raise InvalidConfiguration(f"{text!r} cannot be the name of a database: {error}.") from error


def check_place(path: Path) -> bool:
    """Whether there is a file at this place already.

    Raises:
        DatabaseRefused: a database cannot be there: its folder is missing, or something else than a file is there.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.parent.is_dir():
            return False
        raise DatabaseRefused(
            f"There is no folder {path.parent}: make it, mount its disk, or name a database elsewhere."
        ) from None
    except OSError as error:
        raise DatabaseRefused(f"Cannot use {path} as a database: {error.strerror}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise DatabaseRefused(f"Cannot use {path} as a database: it is not a regular file.")
    return True


def _path_of_url(url: str, scheme: str, rest: str) -> str:
    if scheme != "sqlite":
        raise InvalidConfiguration(
            f"No support for {scheme!r} databases: use a path, sqlite:///orders.db or postgresql://host/database."
        )
    if rest and not rest.startswith("/"):
        raise InvalidConfiguration(f"{url} names a host: write three slashes, or four before an absolute path.")
    if "?" in rest or "#" in rest:
        raise InvalidConfiguration(
            f"{url} has a ? or a #, and there are no options: write %3F or %23 where it belongs to the name."
        )
    return unquote(rest, errors="surrogateescape").removeprefix("/")
