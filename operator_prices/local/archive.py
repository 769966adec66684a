"""The file of a backup: what Postgres's own program dumped of our tables, and what it leaves out.

A tar file with a manifest, the functions, and a dump in the custom format. Until version 1 of it a
backup was such a dump alone, of a whole database.
"""

import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from operator_prices.errors import ExplainedError
from operator_prices.store.contents import Digests, Given

MANIFEST, FUNCTIONS, DUMP = "manifest.json", "functions.json", "tables.dump"

FORMAT = 1

CUSTOM = b"PGDMP"
"""How a dump in the custom format begins."""


class ArchiveError(ExplainedError):
    """A file that is no backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup is of."""

    schema: str
    migrations: Sequence[str]
    with_runs: bool
    digests: Digests
    given: Given
    relations: Sequence[str]
    """The names of our tables and views in it."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Opened:
    dump: Path
    manifest: Manifest | None
    """None for a dump of a whole database, as earlier versions made."""
    functions: Sequence[str] = field(default=())


def write(file: Path, dump: Path, manifest: Manifest, functions: Sequence[str]) -> None:
    """Put the parts of a backup into one file."""
    with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
        parts = {MANIFEST: asdict(manifest), FUNCTIONS: list(functions)}
        with tarfile.open(file, "w") as archive:
            for name, content in parts.items():
                text = Path(folder, name)
                text.write_text(json.dumps(content, indent=1), encoding="utf-8")
                archive.add(text, name)
            archive.add(dump, DUMP)


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Write its plain files into a folder; `TarError` for whatever else it holds.

    The filters of `extractall` came with Python 3.11.4, and Debian has an older one.
    """
    for member in archive:
        target = (folder / member.name).resolve()
        content = archive.extractfile(member) if member.isfile() else None
        if content is None or folder not in target.parents:
            raise tarfile.TarError(f"{member.name} is no plain file in it")
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("wb") as kept:
            shutil.copyfileobj(content, kept)


@contextmanager
def opened_archive(file: Path) -> Iterator[Opened]:
    """The parts of a backup, as long as they are needed. Raises `ArchiveError`."""
    if not file.is_file():
        raise ArchiveError(f"There is no backup {file}: name a file that `backup` wrote.")
    with file.open("rb") as start:
        if start.read(len(CUSTOM)) == CUSTOM:
            yield Opened(file, None)
            return
    with TemporaryDirectory(prefix="operator-prices-restore-") as folder:
        try:
            with tarfile.open(file) as archive:
                _extract(archive, Path(folder).resolve())
            told = json.loads(Path(folder, MANIFEST).read_text(encoding="utf-8"))
            functions = json.loads(Path(folder, FUNCTIONS).read_text(encoding="utf-8"))
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise ArchiveError(
                f"{file} is no backup, or not a whole one ({error}): name a file that `backup`"
                " wrote."
            ) from error
        if told.get("format") != FORMAT:
            raise ArchiveError(
                f"The backup {file} has the format {told.get('format')}, and this version reads"
                f" {FORMAT}: use the version of operator-prices that wrote it."
            )
        manifest = Manifest(
            **told
            | {
                "digests": {name: tuple(one) for name, one in told["digests"].items()},
                "given": [tuple(one) for one in told["given"]],
            }
        )
        yield Opened(Path(folder, DUMP), manifest, functions)


# The table of contents of a dump, as `pg_restore --list` writes it.

ENTRY = re.compile(
    r"^\d+; \d+ \d+ (?P<kind>[A-Z]+(?: [A-Z]+)*) (?P<schema>\S+) (?P<tag>.*) (?P<owner>\S+)$"
)

LEFT_OUT = frozenset(
    {"ACL", "DEFAULT ACL", "POLICY", "ROW SECURITY", "SCHEMA", "EXTENSION", "EVENT TRIGGER"}
)
"""Rights and row-level security are put as after a migration; schemas are not ours to make."""

VIEWS = frozenset({"VIEW", "MATERIALIZED VIEW", "RULE"})


COMMENTED = re.compile(r"^(?P<kind>[A-Z]+(?: [A-Z]+)*) ")


@dataclass(frozen=True, slots=True)
class Entry:
    line: str
    kind: str
    schema: str
    tag: str

    @property
    def of_a_view(self) -> bool:
        return self.kind in VIEWS or self.of_comment in VIEWS

    @property
    def of_comment(self) -> str | None:
        """The kind of what a comment is on."""
        told = COMMENTED.match(self.tag) if self.kind == "COMMENT" else None
        return told["kind"] if told else None

    @property
    def relation(self) -> str:
        """The table or view that it belongs to, as far as its tag tells."""
        tag = self.tag
        if self.of_comment is not None:
            tag = tag.removeprefix(self.of_comment).strip().partition(".")[0]
        return tag.partition(" ")[0].strip('"')


def entries(listed: str) -> list[Entry]:
    """What of a dump is to be restored at all."""
    found = []
    for line in listed.splitlines():
        told = ENTRY.match(line)
        if told and told["kind"] not in LEFT_OUT:
            found.append(Entry(line, told["kind"], told["schema"], told["tag"]))
    return found
