"""Keys in their file: made once, told once, kept as hashes, and removed."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock

from ordermill.http.security import api_keys as keys
from ordermill.http.security.api_keys import (
    KeyEntry,
    KeysUnusable,
    NoSuchKey,
    Role,
    create_key,
    hash_key,
    id_of,
    read_keys,
    revoke_key,
    weights_of,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's keys go."""
    return tmp_path / "keys"


def test_a_key_has_an_id_and_256_random_bits(path: Path) -> None:
    made = [create_key(path, [Role.READ]) for _ in range(3)]

    assert all(re.fullmatch(r"om_[0-9a-f]{12}_[0-9a-f]{64}", key) for key in made)
    assert len({key.rpartition("_")[2] for key in made}) == 3
    assert list(read_keys(path)) == [id_of(key) for key in made]


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2K", "\u202epohs"])
def test_a_name_that_cannot_be_shown_is_refused_and_none_from_the_file_is_shown(path: Path, name: str) -> None:
    with pytest.raises(KeysUnusable, match="has a character in it that nobody can see"):
        create_key(path, [Role.READ], name=name)

    key = create_key(path, [Role.READ], name="shop")
    path.write_bytes(path.read_bytes().replace(b'"shop"', json.dumps(name).encode()))

    assert read_keys(path)[id_of(key)].name == ascii(name)[1:-1]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
@pytest.mark.parametrize("change", ["create", "revoke"])
def test_a_file_that_is_changed_stays_as_readable_as_it_was(path: Path, mode: int, change: str) -> None:
    key = create_key(path, [Role.READ])
    path.chmod(mode)

    create_key(path, [Role.READ]) if change == "create" else revoke_key(path, id_of(key))

    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_changed_by_root_stays_its_owners(path: Path) -> None:
    key = create_key(path, [Role.READ])
    os.chown(path, 65534, 65533)

    revoke_key(path, id_of(key))

    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may write, unlike those of pytest."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a program as somebody else")
def test_a_file_of_another_user_is_not_replaced_by_one_that_its_server_cannot_read(shared_folder: Path) -> None:
    path = shared_folder / "keys"
    key = create_key(path, [Role.READ])
    path.chmod(0o644)
    (lock,) = path.parent.glob(".keys.lock")
    lock.chmod(0o666)
    before = path.read_bytes()
    read, write = os.pipe()
    if (child := os.fork()) == 0:  # nothing of pytest's is run in it
        os.setgid(65534)
        os.setuid(65534)
        try:
            revoke_key(path, id_of(key))
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as said:
        assert b"KeysUnusable: " in (told := said.read()), told
    assert b"belongs to another user or group" in told
    assert (path.read_bytes(), path.stat().st_uid) == (before, 0)
    assert not list(path.parent.glob(".keys.[0-9]*"))


def test_a_file_with_another_name_is_refused_since_that_would_keep_the_keys(path: Path) -> None:
    key = create_key(path, [Role.READ])
    path.with_name("other").hardlink_to(path)

    with pytest.raises(KeysUnusable, match="has other names, by hard links"):
        revoke_key(path, id_of(key))

    assert id_of(key) in read_keys(path)


def test_the_file_holds_the_hash_and_never_the_key(path: Path) -> None:
    key = create_key(path, [Role.SUBMIT, Role.READ], "u-1", "shop")
    entry = read_keys(path)[id_of(key)]

    assert key.rpartition("_")[2] not in path.read_text()
    assert entry == KeyEntry(
        id_of(key), hash_key(key), (Role.READ, Role.SUBMIT), entry.created_at, user="u-1", name="shop"
    )
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry.created_at)


def test_only_the_owner_may_read_the_file(path: Path) -> None:
    create_key(path, [Role.READ])

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_role_twice_is_once(path: Path) -> None:
    key = create_key(path, [Role.READ, Role.READ])

    assert read_keys(path)[id_of(key)].roles == (Role.READ,)


def test_a_revoked_key_is_gone_and_the_others_stay(path: Path) -> None:
    first, second, third = (id_of(create_key(path, [Role.READ])) for _ in range(3))

    revoke_key(path, second)

    assert list(read_keys(path)) == [first, third]
    with pytest.raises(NoSuchKey, match=f"There is no key '{second}' in .*keys: see `ordermill keys list`"):
        revoke_key(path, second)


def test_nothing_else_is_left_beside_the_file(path: Path) -> None:
    revoke_key(path, id_of(create_key(path, [Role.READ])))

    assert {found.name for found in path.parent.iterdir()} <= {"keys", ".keys.lock"}


@pytest.mark.parametrize("user", ["", "u 1", "ü", "u" * 129, "u-1\n"])
def test_a_user_who_is_none_is_refused(path: Path, user: str) -> None:
    with pytest.raises(KeysUnusable, match="A user is written with"):
        create_key(path, [Role.READ], user)

    assert not path.exists()


def test_a_file_that_is_not_there_says_how_to_make_it(path: Path) -> None:
    with pytest.raises(KeysUnusable, match="make a key in it with `ordermill keys create`"):
        read_keys(path)
    with pytest.raises(KeysUnusable, match="There is no file"):
        revoke_key(path, "0" * 12)


def entry(**fields: object) -> str:
    """A line of the file."""
    good = {"id": "0" * 12, "sha256": "0" * 64, "roles": ["read"], "created_at": "2026-11-23T00:00:00Z"}
    return json.dumps(good | fields)


@pytest.mark.parametrize(
    "line",
    [
        "om_secret",
        "{}",
        "\xff",
        entry(id="short"),
        entry(sha256="0" * 63),
        entry(roles=[]),
        entry(roles=["admin"]),
        entry(user="u 1"),
        entry(expires="never"),
    ],
)
def test_a_line_that_is_no_key_is_named(path: Path, line: str) -> None:
    path.write_bytes((entry() + "\n\n" + line + "\n").encode("latin-1"))

    with pytest.raises(KeysUnusable, match=r"Line 3 of .*keys is no key"):
        read_keys(path)
    with pytest.raises(KeysUnusable):
        create_key(path, [Role.READ])
    assert path.read_bytes().splitlines()[2] == line.encode("latin-1")


def test_two_lines_of_one_id_are_refused(path: Path) -> None:
    path.write_text(entry() + "\n" + entry(roles=["operate"]) + "\n")

    with pytest.raises(KeysUnusable, match=r"Line 2 of .* has the id of a key before it"):
        read_keys(path)


def test_a_folder_is_no_file_of_keys(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match="Cannot read the keys"):
        read_keys(tmp_path)


def test_two_do_not_change_the_file_at_the_same_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOCK_SECONDS", 0)

    with FileLock(path.with_name(".keys.lock")), pytest.raises(KeysUnusable, match="Another process"):
        create_key(path, [Role.READ])


@pytest.mark.parametrize(
    ("key", "key_id"), [("om_12_34", "12"), ("om_12", "12"), ("om_", ""), ("", ""), ("12_34", ""), ("xx_12_34", "")]
)
def test_the_id_is_the_middle_of_a_key(key: str, key_id: str) -> None:
    assert id_of(key) == key_id


@pytest.mark.parametrize("line", [b'{"id": 5}', b"[]", b'{"id": "0123456789ab", "colour": "red"}', b"{"])
def test_what_is_wrong_with_a_line_is_said_without_types_of_the_inside(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(line)

    with pytest.raises(KeysUnusable, match=r"^Line 1 of .*keys is no key \(.*\): repair or remove it\.$") as error:
        read_keys(path)

    assert "$" not in str(error.value)
    assert "`" not in str(error.value)


def test_a_key_of_a_user_may_have_a_weight(path: Path) -> None:
    for user, weight in (("u-1", 3.0), ("u-1", 2.0), ("u-2", None)):
        create_key(path, [Role.SUBMIT], user, weight=weight)

    assert weights_of(read_keys(path).values()) == {"u-1": 3.0}


@pytest.mark.parametrize(("user", "weight"), [(None, 2.0), ("u-1", 0.0), ("u-1", 101.0), ("a,b", 2.0)])
def test_a_weight_that_is_none_is_refused(path: Path, user: str | None, weight: float) -> None:
    with pytest.raises(KeysUnusable, match="weight"):
        create_key(path, [Role.SUBMIT], user, weight=weight)
