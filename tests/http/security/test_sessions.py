from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ordermill.http.security.api_keys import Role, create_key, id_of, revoke_key
from ordermill.http.security.keyring import Keyring
from ordermill.http.security.sessions import LASTING_SECONDS, Sessions, session_of, set_cookie


class Now:
    """A clock."""

    seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def key(file: Path) -> str:
    return create_key(file, [Role.OPERATE])


@pytest.fixture
def begin(file: Path, now: Now) -> Callable[[bytes], Sessions]:
    return lambda secret=b"secret": Sessions(Keyring(file, now), lambda: secret, now)


def test_a_session_is_found_by_any_process_over_the_same_database(begin: Callable[..., Sessions], key: str) -> None:
    cookie = begin().begin(key)
    assert cookie is not None
    found = begin().find(cookie)
    assert found is not None
    assert found.id == id_of(key)


def test_another_database_knows_nothing_of_it(begin: Callable[..., Sessions], key: str) -> None:
    cookie = begin().begin(key)
    assert cookie is not None
    assert begin(b"another secret").find(cookie) is None


def test_a_wrong_key_begins_no_session(begin: Callable[..., Sessions], key: str) -> None:
    assert begin().begin(key[:-1]) is None
    assert begin().begin("") is None


def test_a_session_is_over_in_the_end(begin: Callable[..., Sessions], key: str, now: Now) -> None:
    sessions = begin()
    cookie = sessions.begin(key)
    assert cookie is not None
    now.seconds += LASTING_SECONDS - 1
    assert sessions.find(cookie) is not None
    now.seconds += 1
    assert sessions.find(cookie) is None


def test_a_session_ends_with_its_key(begin: Callable[..., Sessions], key: str, file: Path, now: Now) -> None:
    create_key(file, [Role.READ])
    sessions = begin()
    cookie = sessions.begin(key)
    assert cookie is not None
    revoke_key(file, id_of(key))
    now.seconds += 5
    assert sessions.find(cookie) is None


def test_whoever_changes_a_cookie_has_no_session(begin: Callable[..., Sessions], key: str, file: Path) -> None:
    other = create_key(file, [Role.READ])
    sessions = begin()
    cookie = sessions.begin(other)
    assert cookie is not None
    key_id, end, signature = cookie.split(".")
    for forged in (
        f"{id_of(key)}.{end}.{signature}",
        f"{key_id}.{int(end) + 1}.{signature}",
        f"{key_id}.{end}.{signature[:-1]}",
        f"{key_id}.{end}.",
        f"{key_id}.{'9' * 5_000}.{signature}",
        f"{key_id}.\u00b2.{signature}",
        f"{key_id}.{end}.\u00e9",
        "..",
        "",
    ):
        assert sessions.find(forged) is None


def test_forms_of_two_sessions_have_different_tokens(begin: Callable[..., Sessions], key: str, now: Now) -> None:
    sessions = begin()
    first = sessions.begin(key)
    now.seconds += 1
    second = sessions.begin(key)
    assert first is not None
    assert second is not None
    assert sessions.form_token(first) != sessions.form_token(second)
    assert sessions.form_token(first) == begin().form_token(first)


def test_the_cookie_is_read_back_among_others(begin: Callable[..., Sessions], key: str) -> None:
    value = begin().begin(key)
    assert value is not None
    assert session_of(f"theme=dark; {set_cookie(value, is_secure=True).partition(';')[0]}; x=y") == value
    assert session_of("") == session_of("theme=dark") == session_of(";;=;\x00") == ""


def test_over_tls_the_browser_sends_the_cookie_over_nothing_else() -> None:
    assert "Secure" in set_cookie("x", is_secure=True)
    assert "Secure" not in set_cookie("x", is_secure=False)


@pytest.mark.parametrize(
    ("cookies", "session"),
    [
        ("", ""),
        ("ordermill_session=a.b.c", "a.b.c"),
        ("x=1; ordermill_session = a.b.c ;y=2", "a.b.c"),
        ("ordermill_session=a; ordermill_session=b", "a"),
        ("xordermill_session=a; ordermill_sessionx=b; =c; ordermill_session", ""),
        ('ordermill_session="a"', '"a"'),
    ],
)
def test_the_session_is_found_among_other_cookies(cookies: str, session: str) -> None:
    assert session_of(cookies) == session


WORST = [unit * (30_000 // len(unit)) for unit in ("\\", "\\134", '\\"', ";", "=", "a=b;", 'a="', "expires=Wed, ")]


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("start", ["", 'ordermill_session="', 'ordermill_session=a; x="'])
@pytest.mark.parametrize("path", ["/orders", "/dashboard/", "/docs"])
def test_no_cookie_holds_up_the_server(start_server: Callable[..., Any], file: Path, path: str, start: str) -> None:
    client = start_server(keys_file=str(file))
    took = []
    for worst in WORST:
        before = time.process_time()
        client.get(path, Cookie=f'{start}{worst}"')
        took.append(time.process_time() - before)

    assert max(took) < 2, took  # what is quadratic takes more than four times that
