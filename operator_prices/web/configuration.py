"""What the serving process is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from operator_prices.errors import ExplainedError

READER = "operator_prices_reader"
"""The role that the migrations create: it may read what is published, and nothing else."""

READ_PATHS = ("tables", "json")


class ConfigurationError(ExplainedError):
    """A setting that cannot be used, said in one sentence with the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The settings of the API, as the README's table lists them."""

    database_url: str
    host: str = "127.0.0.1"
    port: int = 8000
    cors_origins: tuple[str, ...] = ()
    read_path: str = "tables"
    """How `/api/epochs` is read unless it is asked otherwise: `tables`, or `json` as of old."""
    cache_bytes: int = 24_000_000
    """What repeated answers may occupy; 0 keeps none."""
    max_lag_seconds: int | None = None
    """How old the last epoch may be until `/readyz` says no; None lets it be any age."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        known = {name: text for name, text in environment.items() if text}
        if "API_DATABASE_URL" not in known:
            raise ConfigurationError(
                "API_DATABASE_URL is not set: name the pipeline's database there, with the role"
                f" {READER}."
            )
        read_path = known.get("READ_PATH", "tables")
        if read_path not in READ_PATHS:
            raise ConfigurationError(f"READ_PATH is {read_path!r}: set it to `tables` or `json`.")
        lag = _number(known, "API_MAX_LAG_SECONDS")
        cache = _number(known, "API_CACHE_BYTES")
        return cls(
            database_url=known["API_DATABASE_URL"],
            host=known.get("API_HOST", "127.0.0.1"),
            port=_number(known, "API_PORT") or 8000,
            cors_origins=tuple(
                origin.strip() for origin in known.get("CORS_ORIGINS", "").split(",") if origin
            ),
            read_path=read_path,
            cache_bytes=24_000_000 if cache is None else cache,
            max_lag_seconds=lag,
        )


def _number(known: Mapping[str, str], name: str) -> int | None:
    text = known.get(name)
    if text is not None and not text.isdecimal():
        raise ConfigurationError(f"{name} is {text!r}: set it to a whole number.")
    return None if text is None else int(text)
