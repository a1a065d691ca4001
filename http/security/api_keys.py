"""API keys: what they look like, what they are good for, and the file that knows them by their hashes."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from filelock import FileLock, Timeout
from msgspec import Meta

from ...store.domain.errors import OrdermillError
from ...store.domain.order import USER, USER_RULE
from ...store.domain.text import in_one_line
from ...store.domain.weight import LEAST_WEIGHT, MOST_WEIGHT

_PREFIX = "om"
_ID_BYTES = 6
_SECRET_BYTES = 32
_OWNER_ONLY = 0o600
_LOCK_SECONDS = 10


class Role(StrEnum):
    """What a key is good for; one may have several."""

    SUBMIT = "submit"
    """Submitting orders, and cancelling them."""
    READ = "read"
    """Reading orders, and the metrics."""
    OPERATE = "operate"
    """Everything, retrying and settling among it."""


class KeyEntry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the file holds of a key: everything but the key itself."""

    id: Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * _ID_BYTES}}}$")]
    """The part of the key that is not secret."""
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """The hash of the whole key."""
    roles: Annotated[tuple[Role, ...], Meta(min_length=1)]
    created_at: str
    """RFC 3339, UTC."""
    user: Annotated[str, Meta(pattern=f"^{USER.pattern}$")] | None = None
    """The only user whose orders the key is good for; None for all."""
    name: str | None = None
    """What people call it."""
    weight: Annotated[float, Meta(ge=LEAST_WEIGHT, le=MOST_WEIGHT)] | None = None
    """How many times the others' share of the turns its user has; None where nothing is said of it."""


class KeysUnusable(OrdermillError):
    """The file of the keys cannot be read or written, or a line of it is not a key."""


class NoSuchKey(OrdermillError):
    """No key has this id."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeyEntry).decode


def hash_key(key: str) -> str:
    """What a file holds in place of a key, in hexadecimal.

    One fast round without salt is right here: slow and salted hashes protect words that people think up, and nobody
    guesses 256 random bits, however fast each guess is.
    """
    return sha256(key.encode(errors="surrogateescape")).hexdigest()


def id_of(key: str) -> str:
    """The part of a key that is not secret; the empty string where there is no such part."""
    prefix, _, rest = key.partition("_")
    return rest.partition("_")[0] if prefix == _PREFIX else ""


def read_keys(path: Path) -> dict[str, KeyEntry]:
    """The keys of a file, by their ids.

    Raises:
        KeysUnusable: it cannot be read, everybody may write it, or a line of it is not a key.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise KeysUnusable(f"Everybody on this machine may write keys into {path}: forbid it with `chmod o-w`.")
            lines = file.read().splitlines()
    except FileNotFoundError:
        raise KeysUnusable(f"There is no file {path}: make a key in it with `ordermill keys create`.") from None
    except OSError as error:
        raise KeysUnusable(f"Cannot read the keys in {path}: {error}.") from error
    entries: dict[str, KeyEntry] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            is_json = isinstance(error, msgspec.ValidationError)
            why = "a field is missing, unknown or wrong" if is_json else str(error)
            raise KeysUnusable(f"Line {number} of {path} is no key ({why}): repair or remove it.") from None
        if entry.name is not None:
            entry = msgspec.structs.replace(entry, name=in_one_line(entry.name))
        if entry.id in entries:
            raise KeysUnusable(f"Line {number} of {path} has the id of a key before it: remove one of them.")
        entries[entry.id] = entry
    return entries


def weights_of(entries: Iterable[KeyEntry]) -> dict[str, float]:
    """The weights of users that their keys say; the largest where several do."""
    weights: dict[str, float] = {}
    for entry in entries:
        if entry.user is not None and entry.weight is not None:
            weights[entry.user] = max(entry.weight, weights.get(entry.user, entry.weight))
    return weights


def create_key(
    path: Path, roles: Iterable[Role], user: str | None = None, name: str | None = None, weight: float | None = None
) -> str:
    """Make a key and add it to a file, which is made where it does not exist.

    Args:
        path: the file; a new one is made readable for its owner only, an old one stays whose it is.
        roles: what the key is good for; at least one.
        user: the only user whose orders it is good for; None for all.
        name: what people call it.
        weight: how many times the others' share of the turns its user has; None where nothing is said of it.

    Returns:
        The key. Nobody can tell it again.

    Raises:
        KeysUnusable: the file cannot be read or written, the user or the weight is not valid, or the name cannot be
            shown.
    """
    if weight is not None and (user is None or "," in user or not LEAST_WEIGHT <= weight <= MOST_WEIGHT):
        raise KeysUnusable(
            f"A weight is {LEAST_WEIGHT:g} to {MOST_WEIGHT}, for a key of one user, whose name has no comma."
        )
    if user is not None and USER.fullmatch(user) is None:
        raise KeysUnusable(f"A user is written with {USER_RULE}; {user!r} is not.")
    if name is not None and in_one_line(name) != name:
        raise KeysUnusable(f"The name {name!r} has a character in it that nobody can see: leave it out.")
    key_id = secrets.token_hex(_ID_BYTES)
    key = f"{_PREFIX}_{key_id}_{secrets.token_hex(_SECRET_BYTES)}"
    created_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    entry = KeyEntry(key_id, hash_key(key), tuple(sorted(set(roles))), created_at, user, name, weight)
    with _locked(path) as file:
        entries = read_keys(path) if file.exists() else {}
        _write(file, [*entries.values(), entry])
    return key


def revoke_key(path: Path, key_id: str) -> None:
    """Remove a key from a file.

    Raises:
        NoSuchKey: no key has this id.
        KeysUnusable: the file cannot be read or written.
    """
    with _locked(path) as file:
        entries = read_keys(path)
        if entries.pop(key_id, None) is None:
            raise NoSuchKey(f"There is no key {key_id!r} in {path}: see `ordermill keys list`.")
        _write(file, entries.values())


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    # Gives the file itself: where links were followed by the server and not here, it would keep the keys of before.
    # Two who change it at once must not undo each other: a key that was revoked stays so.
    file = Path(os.path.realpath(path))
    try:
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=_LOCK_SECONDS, mode=_OWNER_ONLY):
            yield file
    except Timeout:
        raise KeysUnusable(f"Another process has been changing {path} for {_LOCK_SECONDS} s: try again.") from None
    except OSError as error:
        raise KeysUnusable(f"Cannot write the keys to {path}: {error}.") from error


def _write(path: Path, entries: Iterable[KeyEntry]) -> None:
    # A whole new file takes the place of the old one: a server that reads it meanwhile never sees half of it.
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.touch(_OWNER_ONLY, exist_ok=False)
        with new.open("wb") as file:
            _make_like(path, file.fileno())
            file.writelines(_encode(entry) + b"\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _make_like(path: Path, new: int) -> None:
    # A server that may read the old file has to be able to read the new one, or it would keep the keys of before.
    with suppress(FileNotFoundError):
        old = path.stat()
        if old.st_nlink > 1:
            raise KeysUnusable(
                f"{path} has other names, by hard links, that would keep the keys of before: remove them."
            )
        try:
            os.fchown(new, old.st_uid, old.st_gid)
        except PermissionError:
            raise KeysUnusable(
                f"{path} belongs to another user or group, and would be yours afterwards: change it as its owner."
            ) from None
        os.fchmod(new, stat.S_IMODE(old.st_mode))
