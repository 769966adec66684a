"""The dashboard's files, and the libraries that installed Python packages bring for the browser."""

from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from mimetypes import guess_type
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from isal import igzip

from operator_prices.web.answers import CACHE_CONTROL, coding, matches

STATIC = Path(__file__).parent / "static"

POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing from elsewhere; Bokeh and Swagger write styles into the page."""

DOCS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Operator prices API</title>
<link rel="stylesheet" href="/vendor/swagger-ui.css">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<div id="swagger-ui"></div>
<script src="/vendor/swagger-ui-bundle.js"></script>
<script src="/static/docs.js"></script>
</html>
"""


router = APIRouter(include_in_schema=False)

_packed: dict[Path, tuple[int, str, bytes]] = {}


def file(request: Request, path: Path) -> Response:
    """A file of ours, with gzip for whoever takes it; packed once, and again when it changes."""
    changed = path.stat().st_mtime_ns
    if path not in _packed or _packed[path][0] != changed:
        content = path.read_bytes()
        tag = blake2b(content, digest_size=8).hexdigest()
        _packed[path] = (changed, tag, igzip.compress(content, compresslevel=2))
    _, tag, squeezed = _packed[path]
    gzip = coding(request.headers.get("accept-encoding", "").replace("zstd", "")) == "gzip"
    etag = f'"{tag}-gzip"' if gzip else f'"{tag}"'
    headers = {
        "etag": etag,
        "cache-control": CACHE_CONTROL,
        "vary": "Accept-Encoding",
        "x-content-type-options": "nosniff",
        "content-security-policy": POLICY,
    }
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if gzip:
        headers["content-encoding"] = "gzip"
    content = squeezed if gzip else path.read_bytes()
    kind = guess_type(path.name)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers=headers)


@router.get("/")
async def dashboard(request: Request) -> Response:
    return file(request, STATIC / "index.html")


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    known = {path.name: path for path in STATIC.iterdir() if path.is_file()}
    return file(request, known[name]) if name in known else _none()


@router.get("/vendor/{name}")
async def library(request: Request, name: str) -> Response:
    known = _vendor()
    return file(request, known[name]) if name in known else _none()


@router.get("/docs")
async def docs() -> HTMLResponse:
    return HTMLResponse(DOCS, headers={"content-security-policy": POLICY})


def _none() -> Response:
    return Response("There is no such file.", 404, media_type="text/plain")


@cache
def _vendor() -> dict[str, Path]:
    """By name, the files that we serve of installed packages; none of the packages is imported."""
    bokeh = _package("bokeh") / "server" / "static" / "js"
    swagger = next((_package("swagger_ui_bundle") / "vendor").glob("swagger-ui-*"))
    return {
        "bokeh.min.js": bokeh / "bokeh.min.js",
        "bokeh-api.min.js": bokeh / "bokeh-api.min.js",
        "swagger-ui-bundle.js": swagger / "swagger-ui-bundle.js",
        "swagger-ui.css": swagger / "swagger-ui.css",
    }


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {name} is missing: install the project again")
    return Path(spec.submodule_search_locations[0])
