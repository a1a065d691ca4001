"""No regular expression takes longer than in proportion to what it is given, whatever that is.

Clients choose the text, and Python holds the interpreter's lock while it looks through it: for as long as that takes,
nobody is answered.
"""

from __future__ import annotations

import ast
import importlib
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BYTES = 64 * 1024
"""More than any field of a header has; of a body, all is looked at by one of them only."""
_TIMES = 4
SECONDS = 0.5
"""Of processor time; what is linear takes a twentieth of that, what is quadratic minutes."""
FUNCTIONS = {"compile", "fullmatch", "match", "search", "sub", "subn", "split", "findall", "finditer"}
CALLS: dict[str, Any] = {"sub": lambda method, text: method(text[:0], text), "finditer": lambda m, text: list(m(text))}
"""How methods are called that do not take the text alone."""


def sources() -> Iterator[tuple[str, Path]]:
    for path in sorted(path for layer in ("http", "engine", "store") for path in (ROOT / layer).rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.name not in ("__init__.py", "__main__.py") and place.parts[1] != "cli":  # an operator's text
            yield ".".join(("ordermill", *place.with_suffix("").parts)), path


SOURCES = dict(sources())


def parse(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every expression that a module holds, by where it is."""
    found: dict[str, re.Pattern[Any]] = {}
    for name in SOURCES:
        for variable, value in vars(importlib.import_module(name)).items():
            pattern = getattr(value, "__self__", value)  # `is_sound = re.compile(…).fullmatch`
            if isinstance(pattern, re.Pattern) and pattern not in found.values():
                found[f"{name}.{variable}"] = pattern
    return found


PATTERNS = patterns()


@cache
def methods() -> dict[str, set[str]]:
    """What is called of each name that stands for an expression anywhere."""
    names = {place.rpartition(".")[2] for place in PATTERNS}
    found = defaultdict(set)
    for module in SOURCES:
        for node in ast.walk(parse(module)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
                found[node.value.id].add(node.attr)
    return found


def attacks(pattern: re.Pattern[Any]) -> Iterator[Any]:
    """Texts that are long runs of what the expression has in it, with something at the end that it does not take."""
    written = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    characters = sorted(set('a0 ,"\\') | set(written) & set(";%=/.:[{?\n-"))
    runs = [*characters, *map("".join, permutations(characters, 2)), "http://", 'a="']
    for run, end in product(runs, ("", "\x00", '"')):
        text = run * (BYTES // len(run)) + end
        yield text if isinstance(pattern.pattern, str) else text.encode("latin-1")


def seconds(method: Any, call: Any, text: Any) -> float:
    # The least of some, where it is much: a machine that stands still for a moment counts that as well.
    least = math.inf
    for _ in range(_TIMES):
        began = time.thread_time()
        call(method, text)
        least = min(least, time.thread_time() - began)
        if least < SECONDS:
            break
    return least


def seconds_at_the_worst(pattern: re.Pattern[Any], name: str) -> float:
    method = getattr(pattern, name)
    call = CALLS.get(name, lambda method, text: method(text))
    worst = 0.0
    for text in attacks(pattern):
        # From few on, so that what is quadratic or worse ends this test soon.
        for size in (*range(20, 42, 2), BYTES // 16, BYTES // 8, BYTES // 4, BYTES):
            worst = max(worst, seconds(method, call, text[: size - 1] + text[-1:]))
            if worst > SECONDS:
                return worst
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("place", PATTERNS)
def test_an_expression_takes_time_in_proportion_to_the_text(place: str) -> None:
    used = methods()[place.rpartition(".")[2]] & {"fullmatch", "match", "search", "sub", "split", "findall", "finditer"}

    for name in used or {"fullmatch"}:  # which is what the rules of fields are asked for
        assert seconds_at_the_worst(PATTERNS[place], name) < SECONDS, name


@pytest.mark.slow
@pytest.mark.parametrize("expression", [r',(?=(?:[^"]*"[^"]*")*[^"]*$)', r"\s+$", r"(a|aa)+b"])
def test_what_is_quadratic_or_worse_is_found(expression: str) -> None:
    assert seconds_at_the_worst(re.compile(expression), "search") >= SECONDS


@pytest.mark.parametrize("module", SOURCES)
def test_no_expression_hides_within_a_function(module: str) -> None:
    hidden = [
        f"line {node.lineno}"
        for function in ast.walk(parse(module))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("re.") in FUNCTIONS
        if ast.unparse(node.func).startswith("re.") and "re.escape(" not in ast.unparse(node)  # which is plain text
    ]

    assert hidden == []
