"""Settings that nobody has to set, as the processes of Dagster read them when they work."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Self

from operator_prices.errors import ExplainedError


class OptionError(ExplainedError):
    """An environment variable that does not say what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the README's table of settings lists as optional, under the same names."""

    domain_id: int = 0
    requests_per_second: float | None = None
    """What the node may be asked in all, by all runs on all machines; None is no limit."""
    confirmation_depth: int = 0
    """Blocks on top of an epoch before it is kept; the chain's own depth is the least."""
    archive_node_authorization: str | None = None
    """The HTTP header `Authorization` for the node."""
    alert_webhook_url: str | None = None
    lag_limit: int = 5
    """Completed epochs that may be waiting before that is an incident."""
    keep_runs_days: int = 30
    """Days after which a run is forgotten, unless it holds the latest materialization."""
    ui_url: str = "http://127.0.0.1:3000"
    api_url: str = "http://127.0.0.1:8000"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """The options of an environment; a variable that is empty counts as not set.

        >>> Options.read({"REQUESTS_PER_SECOND": "50", "LAG_LIMIT": ""}).requests_per_second
        50.0
        """
        chosen: dict[str, object] = {}
        for name, kind in (
            ("domain_id", int),
            ("requests_per_second", float),
            ("confirmation_depth", int),
            ("archive_node_authorization", str),
            ("alert_webhook_url", str),
            ("lag_limit", int),
            ("keep_runs_days", int),
            ("ui_url", str),
            ("api_url", str),
        ):
            if text := environment.get(name.upper(), "").strip():
                try:
                    chosen[name] = kind(text)
                except ValueError as error:
                    raise OptionError(f"{name.upper()} is {text!r}: set it to a number.") from error
        options = cls(**chosen)  # type: ignore[arg-type]
        options._require_sense()
        return options

    def _require_sense(self) -> None:
        rate = self.requests_per_second
        if rate is not None and not 0 < rate < inf:
            raise OptionError("REQUESTS_PER_SECOND must be above zero: unset it for no limit.")
        for name in ("domain_id", "confirmation_depth", "lag_limit", "keep_runs_days"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name.upper()} is below zero: set it to zero or more.")
        if not (self.archive_node_authorization or "").isprintable():
            raise OptionError(
                "ARCHIVE_NODE_AUTHORIZATION holds a line break or the like: set it to the value of"
                " one header."
            )
