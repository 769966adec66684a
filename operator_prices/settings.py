"""The settings of the command line, and the environment that they make for everything it starts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

PROJECT = Path(__file__).parents[1]
"""Where `sql/`, `dagster.yaml` and `workspace.yaml` are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the README's table of settings lists, under the same names."""

    data_dir: Path
    database_url: str | None = None
    """None stands for the data directory's own server."""
    archive_node_url: str | None = None
    """None stands for the development chain."""
    domain_id: int = 0
    ui_port: int = 3000
    api_port: int = 8000
    api_database_url: str | None = None
    """None stands for the pipeline's database, with the role that only reads if it is our own."""
    cors_origins: str | None = None
    read_path: str | None = None

    def environment(self) -> dict[str, str]:
        """The variables that `definitions.py` and every child process read."""
        known = {
            "DATA_DIR": str(self.data_dir),
            "DATABASE_URL": self.database_url,
            "ARCHIVE_NODE_URL": self.archive_node_url,
            "DOMAIN_ID": str(self.domain_id),
        }
        return {name: value for name, value in known.items() if value is not None}

    def with_database(self, url: str) -> Self:
        return replace(self, database_url=url)

    def with_node(self, url: str) -> Self:
        return replace(self, archive_node_url=url)
