"""The page that shows the description of the API to people, and lets them try it: Swagger UI, served from here."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from .access import PUBLIC
from .call import Headers
from .document import Document
from .route import Route

_STATIC = Path(__file__).with_name("static")
# Not by `importlib.resources`: to import that package is to read all of its viewers into memory.
_VIEWER = Path(str(distribution("offapi").locate_file("offapi")))

_POLICY: Headers = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
_HTML, _CSS, _SCRIPT = (f"text/{kind}; charset=utf-8" for kind in ("html", "css", "javascript"))

ROUTES = tuple(
    Route("GET", path, Document(file.read_bytes, _POLICY, media_type).read, PUBLIC)
    for path, file, media_type in (
        ("/docs", _STATIC / "docs.html", _HTML),
        ("/docs/docs.js", _STATIC / "docs.js", _SCRIPT),
        ("/docs/docs.css", _STATIC / "docs.css", _CSS),
        ("/docs/swagger.js", _VIEWER / "swagger_bundle.js", _SCRIPT),
        ("/docs/swagger.css", _VIEWER / "swagger_style.css", _CSS),
    )
)
