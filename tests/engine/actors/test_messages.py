"""The messages are immutable, typed, and say what each of their fields is."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import get_type_hints

import pytest

from ordermill.engine import requests
from ordermill.engine.actors import messages

MESSAGES = [
    kind
    for module in (messages, requests)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if kind.__module__ == module.__name__ and issubclass(kind, tuple)
]


def fields_without_docstring(kind: type) -> list[str]:
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    missing = []
    for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and not (
            isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        ):
            missing.append(ast.unparse(statement.target))
    return missing


def test_all_classes_of_the_modules_are_messages() -> None:
    trees = [ast.parse(Path(module.__file__).read_text(encoding="utf-8")) for module in (messages, requests)]
    defined = {node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}

    assert len(defined) > 10
    assert defined == {kind.__name__ for kind in MESSAGES}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_a_message_says_between_whom_it_goes_and_what_its_fields_are(kind: type) -> None:
    assert kind.__doc__ is not None
    assert kind.__doc__.startswith(("To ", "From "))
    assert fields_without_docstring(kind) == []
    assert list(get_type_hints(kind)) == list(kind._fields)  # type: ignore[attr-defined]
