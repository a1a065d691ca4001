"""Router: from a method and a path to the route that answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

from ..security.access import PUBLIC
from ..wire.errors import MethodNotAllowed, NoSuchResource
from .response import Response
from .route import AnyRoute, Route


class Found(NamedTuple):
    """The route of a request, and what stands for the placeholders in its path."""

    route: AnyRoute
    parameters: Mapping[str, str]


class _Node:
    """What a path leads to, segment by segment."""

    def __init__(self) -> None:
        self.written: dict[str, _Node] = {}
        self.placeholder: _Node | None = None
        self.methods: dict[str, AnyRoute] = {}


class Router:
    """Finds the route of a request.

    Args:
        table: every route. Where one path is written out and another has a placeholder, only the written one is meant,
            whatever the method.
    """

    def __init__(self, table: Iterable[AnyRoute]) -> None:
        self._root = _Node()
        self._written: dict[tuple[str, str], Found] = {}
        self._all: dict[str, AnyRoute] = {}  # only OPTIONS may ask for all there is
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
        values = path.split("/")
        methods = self._all if path == "*" else next(_walk(self._root, values, 0), None)
        if methods is None:
            raise NoSuchResource
        if path != "*" and (route := methods.get(wanted)) is not None:
            names = route.path.split("/")
            return Found(
                route, {name[1:-1]: value for name, value in zip(names, values, strict=True) if name[:1] == "{"}
            )
        allow = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if method == "OPTIONS":
            # Browsers ask before they have a key to send.
            answer = Response(b"", HTTPStatus.NO_CONTENT, (("Allow", allow),))
            return Found(Route(method, path, lambda _: answer, PUBLIC), {})
        raise MethodNotAllowed(allow)


def words_beside(name: str, table: Iterable[AnyRoute]) -> frozenset[str]:
    """The words that some path has where another one has a placeholder: nothing of that name could be asked for.

    Args:
        name: of the placeholder.
        table: every route.
    """
    paths = [route.path.split("/") for route in table]
    placeholder = f"{{{name}}}"
    before = [path[: path.index(placeholder)] for path in paths if placeholder in path]
    return frozenset(
        path[len(start)]
        for start in before
        for path in paths
        if path[: len(start)] == start and len(path) > len(start) and not path[len(start)].startswith("{")
    )


def _walk(node: _Node, segments: list[str], depth: int) -> Iterator[dict[str, AnyRoute]]:
    if depth == len(segments):
        if node.methods:
            yield node.methods
        return
    segment = segments[depth]
    if (written := node.written.get(segment)) is not None:
        yield from _walk(written, segments, depth + 1)
    if node.placeholder is not None and segment:
        yield from _walk(node.placeholder, segments, depth + 1)
