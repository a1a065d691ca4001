"""Router: from a method and a path to the route that answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

from ..security.access import PUBLIC
from ..wire.errors import MethodNotAllowed, NoSuchResource
from .response import Answer
from .route import Route


class Found(NamedTuple):
    """The route of a request, and what stands for the placeholders in its path."""

    route: Route
    parameters: Mapping[str, str]


class _Node:
    """What a path leads to, segment by segment."""

    def __init__(self) -> None:
        self.written: dict[str, _Node] = {}
        self.placeholder: _Node | None = None
        self.methods: dict[str, Route] = {}


class Router:
    """Finds the route of a request.

    Args:
        table: every route; where one path is written out and another has a placeholder, the written one goes before.
    """

    def __init__(self, table: Iterable[Route]) -> None:
        self._root = _Node()
        self._written: dict[tuple[str, str], Found] = {}
        self._all: dict[str, Route] = {}  # only OPTIONS may ask for all there is
        for route in table:
            node = self._root
            for segment in route.path.split("/"):
                if segment.startswith("{"):
                    node.placeholder = node = node.placeholder or _Node()
                else:
                    node = node.written.setdefault(segment, _Node())
            node.methods[route.method] = route
            self._all[route.method] = route
            if "{" not in route.path:
                self._written[route.method, route.path] = Found(route, {})

    def find(self, method: str, path: str) -> Found:
        """The route of a request.

        Raises:
            NoSuchResource: nothing is at this path.
            MethodNotAllowed: something is, but not for this method.
        """
        wanted = "GET" if method == "HEAD" else method
        if (found := self._written.get((wanted, path))) is not None:
            return found
        candidates = [self._all] if path == "*" else []
        values = path.split("/")
        for node in _walk(self._root, values, 0):
            if wanted in node.methods:
                route = node.methods[wanted]
                names = route.path.split("/")
                return Found(
                    route, {name[1:-1]: value for name, value in zip(names, values, strict=True) if name[:1] == "{"}
                )
            candidates.append(node.methods)
        methods = {method for methods in candidates for method in methods}
        if not methods:
            raise NoSuchResource
        allow = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if method == "OPTIONS":
            # Browsers ask before they have a key to send.
            answer = Answer(b"", HTTPStatus.NO_CONTENT, (("Allow", allow),))
            return Found(Route(method, path, lambda _: answer, PUBLIC), {})
        raise MethodNotAllowed(allow)


def _walk(node: _Node, segments: list[str], depth: int) -> Iterator[_Node]:
    if depth == len(segments):
        if node.methods:
            yield node
        return
    segment = segments[depth]
    if (written := node.written.get(segment)) is not None:
        yield from _walk(written, segments, depth + 1)
    if node.placeholder is not None and segment:
        yield from _walk(node.placeholder, segments, depth + 1)
