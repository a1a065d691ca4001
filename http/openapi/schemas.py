"""JSON Schemas of the types that go over the wire, with what the sources say about their fields.

Python throws the docstrings of attributes away, so they are read from the sources: what is said of a field has its home
at the field.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec.inspect import EnumType, StructType

_REF = "#/components/schemas/{name}"


def schema(kind: Any) -> dict[str, Any]:
    """The schema of a type; types that have a name of their own are referred to.

    Args:
        kind: as msgspec takes it.
    """
    (found,), _ = msgspec.json.schema_components((kind,), ref_template=_REF)
    return found


def components(kinds: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """The schemas of all named types that these types consist of, by name, with descriptions of their fields."""
    types = tuple(kinds)
    _, found = msgspec.json.schema_components(types, ref_template=_REF)
    for info in {info.cls: info for info in _named(msgspec.inspect.multi_type_info(types))}.values():
        tree, said = found[info.cls.__name__], attribute_docstrings(info.cls)
        if isinstance(info, EnumType):
            lines = [f"- `{member.value}`: {said[member.name]}" for member in info.cls]
            tree["type"] = "string"
            tree["description"] = "\n".join([tree.get("description", ""), "", *lines])
        else:
            for number, field in enumerate(info.fields):
                if field.name in said:
                    place = tree["prefixItems"][number] if info.array_like else tree["properties"][field.encode_name]
                    place.setdefault("description", said[field.name])
    return dict(sorted(found.items()))


def attribute_docstrings(kind: type) -> dict[str, str]:
    """What the sources say below the attributes of a class of this package and of its base classes, by attribute."""
    package = __name__.partition(".")[0]
    bases = (base for base in reversed(kind.__mro__) if base.__module__.partition(".")[0] == package)
    return {name: text for base in bases for name, text in _docstrings_of(base.__module__)[base.__qualname__].items()}


@cache
def _docstrings_of(module: str) -> dict[str, dict[str, str]]:
    """What the source of a module says below the attributes of its classes, by class and attribute."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_own_docstrings(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _own_docstrings(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]),
                ast.Expr(ast.Constant(str(text))),
            ):
                yield name, inspect.cleandoc(text)


def _named(node: object) -> Iterator[StructType | EnumType]:
    """The types with a name in what `msgspec.inspect` gives, which is a tree of structs and tuples."""
    if isinstance(node, StructType | EnumType):
        yield node
    if isinstance(node, msgspec.Struct):
        children: Iterable[object] = (getattr(node, name) for name in node.__struct_fields__ if name != "default")
    else:
        children = node if isinstance(node, tuple) else ()
    for child in children:
        yield from _named(child)
