"""The dashboard's pages and files, and the libraries that installed Python packages bring.

Every link of a page is relative, so that all of it works below any prefix of a path. The folder in
which a page names its files is the hash of their content: what lies there may be kept for ever.
"""

import gzip
import re
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from mimetypes import guess_type
from pathlib import Path

import zstandard
from fastapi import APIRouter, Request
from fastapi.responses import Response

from operator_prices.web.answers import CACHE_CONTROL
from operator_prices.web.headers import coding, matches
from operator_prices.web.service import service

STATIC = Path(__file__).parent / "static"

FOR_EVER = "public, max-age=31536000, immutable"

POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " worker-src 'self'; frame-ancestors {framers}; base-uri 'none'; form-action 'none'"
)
"""Nothing from elsewhere; Bokeh and Swagger write styles into the page."""

NOBODY = "'none'"

PRELOADED = re.compile(r"<!-- modules of static/([\w.]+) -->")
PRELOAD = '<link rel="modulepreload" href="static/{}">'
IMPORTED = re.compile(r'^import .* from "\./([\w.]+)";$', re.MULTILINE)

router = APIRouter(include_in_schema=False)


class Packed:
    """A file as it is sent: named by what is in it, and pressed once for each coding asked for."""

    def __init__(self, content: bytes, name: str) -> None:
        self.tag = blake2b(content, digest_size=8).hexdigest()
        self.kind = guess_type(name)[0] or "application/octet-stream"
        self._content = content
        self._pressed = {"identity": content}

    def body(self, given: str) -> bytes:
        if given not in self._pressed:
            self._pressed[given] = PRESSES[given](self._content)
        return self._pressed[given]


PRESSES: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda content: zstandard.ZstdCompressor(level=9).compress(content),
    "gzip": lambda content: gzip.compress(content, 9),
}


def sent(request: Request, file: Packed, *, keep: bool, framers: str = NOBODY) -> Response:
    """The file in the coding that the client takes; `keep` says that its address is its content."""
    given = coding(request.headers.get("accept-encoding", ""))
    etag = f'"{file.tag}-{given}"'
    headers = {
        "etag": etag,
        "cache-control": FOR_EVER if keep else CACHE_CONTROL,
        "vary": "Accept-Encoding",
        "x-content-type-options": "nosniff",
        "content-security-policy": POLICY.format(framers=framers),
    }
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if given != "identity":
        headers["content-encoding"] = given
    return Response(file.body(given), media_type=file.kind, headers=headers)


class Folder:
    """Files by name, read once and again when one of them changes."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._read: dict[str, tuple[int, Packed]] = {}

    def file(self, name: str) -> Packed | None:
        path = self._paths.get(name)
        if path is None:
            return None
        changed = path.stat().st_mtime_ns
        if name not in self._read or self._read[name][0] != changed:
            self._read[name] = changed, Packed(path.read_bytes(), name)
        return self._read[name][1]

    def version(self) -> str:
        """The hash of everything in it."""
        tags = [file.tag for name in sorted(self._paths) if (file := self.file(name))]
        return blake2b("".join(tags).encode(), digest_size=6).hexdigest()


@cache
def static_folder() -> Folder:
    return Folder({path.name: path for path in STATIC.iterdir() if path.is_file()})


@cache
def vendor_folder() -> Folder:
    """What we serve of installed packages; none of the packages is imported."""
    bokeh = _package("bokeh") / "server" / "static" / "js"
    swagger = next((_package("swagger_ui_bundle") / "vendor").glob("swagger-ui-*"))
    return Folder(
        {
            "bokeh.min.js": bokeh / "bokeh.min.js",
            "bokeh-api.min.js": bokeh / "bokeh-api.min.js",
            "swagger-ui-bundle.js": swagger / "swagger-ui-bundle.js",
            "swagger-ui.css": swagger / "swagger-ui.css",
        }
    )


FOLDERS = {"static": static_folder, "vendor": vendor_folder}


def page(request: Request, name: str, framers: str = NOBODY) -> Response:
    """A page of ours, whose links to files name the version of their folder."""
    versions = tuple(folder().version() for folder in FOLDERS.values())
    return sent(request, _page(name, versions), keep=False, framers=framers)


def modules(name: str) -> list[str]:
    """The modules that a module of ours needs, directly or not: a page asks for all at once."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        text = (STATIC / waiting.pop()).read_text(encoding="utf-8")
        fresh = [one for one in IMPORTED.findall(text) if one not in found]
        found.update(dict.fromkeys(fresh))
        waiting += fresh
    return sorted(found)


@cache
def _page(name: str, versions: tuple[str, ...]) -> Packed:
    text = (STATIC / name).read_text(encoding="utf-8")
    text = PRELOADED.sub(lambda found: "\n".join(map(PRELOAD.format, modules(found[1]))), text)
    for folder, version in zip(FOLDERS, versions, strict=True):
        text = text.replace(f'"{folder}/', f'"{folder}/{version}/')
    return Packed(text.encode(), name)


@router.get("/")
async def dashboard(request: Request) -> Response:
    return page(request, "index.html")


@router.get("/embed")
async def embed(request: Request) -> Response:
    """One chart, which pages of the sites in FRAME_ORIGINS may frame."""
    origins = service(request).settings.frame_origins
    return page(request, "embed.html", " ".join(("'self'", *origins)))


@router.get("/docs")
async def docs(request: Request) -> Response:
    return page(request, "docs.html")


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    return _of(request, "static", name)


@router.get("/vendor/{name}")
async def library(request: Request, name: str) -> Response:
    return _of(request, "vendor", name)


@router.get("/static/{version}/{name}")
async def static_version(request: Request, version: str, name: str) -> Response:
    """A file of that version; of another one today's, not to be kept."""
    return _of(request, "static", name, version)


@router.get("/vendor/{version}/{name}")
async def vendor_version(request: Request, version: str, name: str) -> Response:
    return _of(request, "vendor", name, version)


def _of(request: Request, folder: str, name: str, version: str = "") -> Response:
    files = FOLDERS[folder]()
    file = files.file(name)
    if file is None:
        return Response("There is no such file.", 404, media_type="text/plain")
    return sent(request, file, keep=version == files.version())


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {name} is missing: install the project again")
    return Path(spec.submodule_search_locations[0])
