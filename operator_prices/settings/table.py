"""All that can be set: each variable with its type, its default and what it means, in one table."""

import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from platformdirs import user_data_path
from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from operator_prices.errors import ExplainedError
from operator_prices.settings.kinds import (
    COUNT,
    HERE,
    PORT,
    POSTGRES,
    URL,
    Count,
    Networks,
    Operators,
    Origins,
    Port,
    Postgres,
    RootPath,
    Url,
    header,
    whole,
)

PACKAGE = Path(__file__).parent.parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").exists() else None
"""The checkout that the package is run from; an installed wheel has none."""

PROJECT = CHECKOUT or PACKAGE
"""Where `sql/`, `dagster.yaml` and `workspace.yaml` are; a wheel has them beside the modules."""

READER = "operator_prices_reader"
"""The role that the migrations create: it may read what is published, and nothing else."""


class SettingError(ExplainedError):
    """A setting that does not say what it should: the variable, its value, and what is right."""


def default_data_dir() -> Path:
    """`.data` in a checkout, else the platform's folder for a user's data."""
    return CHECKOUT / ".data" if CHECKOUT else user_data_path("operator-prices", appauthor=False)


def setting(default: Any, meaning: str, right: str, **more: Any) -> Any:  # noqa: ANN401
    """A variable: its default, what it means in one sentence, and what a right value is.

    `shown` is the default as people read it, `secret` says that the value may hold one, and
    `option=False` that no command has an option for it.
    """
    kept = more.keys() & {"shown", "secret", "option"}
    extra: dict[str, Any] = {name: more.pop(name) for name in kept}
    more["repr"] = not extra.get("secret")
    if not callable(default):
        more["default"] = default
    else:
        more["default_factory"] = default
    return Field(description=meaning, json_schema_extra={"right": right, **extra}, **more)


class Settings(BaseSettings):
    """What the README's tables of settings list, under the same names.

    Options of the command line come first, then the environment; no file is read. A variable that
    is empty counts as not set, and blanks around a value do not count.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        alias_generator=str.upper,
        populate_by_name=True,
        case_sensitive=True,
        extra="ignore",
        frozen=True,
        str_strip_whitespace=True,
        validate_default=True,
    )

    archive_node_url: str | None = setting(
        None,
        "The archive node to read; several, separated by commas, stand in for each other.",
        "ws://, wss://, http:// or https:// addresses",
        shown="the development chain",
        secret=True,
    )
    database_url: Postgres | None = setting(
        None, "The Postgres to use.", POSTGRES, shown="embedded Postgres 18", secret=True
    )
    domain_id: Annotated[int, Field(ge=0, lt=2**32)] = setting(
        0, "The domain to read; 0 is Auto EVM.", "a whole number, zero or more"
    )
    data_dir: Annotated[Path, AfterValidator(whole)] = setting(
        default_data_dir,
        "Where the embedded server, Dagster's home, logs and the chain's runtimes are kept.",
        "a folder",
        shown="`.data` in a checkout, else the user's data folder",
    )
    ui_port: Port = setting(3000, "The port of the Dagster UI.", PORT)
    api_port: Port = setting(8000, "The port of the API and the dashboard.", PORT)
    api_database_url: Postgres | None = setting(
        None,
        f"The same Postgres for the API, with the role `{READER}`, which can only read.",
        POSTGRES,
        shown="that of `DATABASE_URL`",
        secret=True,
    )
    cors_origins: Origins = setting(
        (),
        "Sites whose pages may ask the API, separated by commas.",
        "origins like https://site.example",
        shown="none",
    )
    read_path: Literal["tables", "json"] = setting(
        "tables",
        "How `/api/epochs` reads; `json` parses the stored JSON, as of old.",
        "`tables` or `json`",
    )
    nominators: Literal["on", "off"] = setting(
        "on",
        "Whether accounts that stake are read, stored and served; `off` leaves them out from then"
        " on.",
        "`on` or `off`",
        option=False,
    )
    requests_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = setting(
        None,
        "What the node may be asked in all, by all runs on all machines; of a batch each counts.",
        "a number above zero, or unset it for no limit",
        shown="no limit",
        option=False,
    )
    confirmation_depth: Count = setting(
        0,
        "Blocks that must lie on top of an epoch; the chain's own number is the least.",
        COUNT,
        shown="the chain's",
        option=False,
    )
    archive_node_authorization: Annotated[str, AfterValidator(header)] | None = setting(
        None,
        "The `Authorization` header for the node.",
        "the value of one header, without line breaks",
        shown="none",
        secret=True,
        option=False,
    )
    alert_webhook_url: str | None = setting(
        None,
        "Where trouble and events are told (docs/alerts.md); several between blanks or commas.",
        "addresses as docs/alerts.md shows them",
        shown="none",
        secret=True,
        option=False,
    )
    alert_operators: Operators = setting(
        (),
        "Operators whose events are told, as ids between commas.",
        "ids of operators between commas",
        shown="all",
        option=False,
    )
    alert_price_epochs: Count = setting(
        100,
        "Epochs without a move of an operator's share price that are an event; 0 for never.",
        COUNT,
        option=False,
    )
    lag_limit: Count = setting(
        5, "Completed epochs that may be waiting before that is an incident.", COUNT, option=False
    )
    keep_runs_days: Count = setting(
        30,
        "Days after which a run is forgotten, unless it holds the latest materialization.",
        COUNT,
        option=False,
    )
    celery_broker: str | None = setting(
        None,
        "The broker that hands runs to workers on several machines.",
        "an address like redis://broker.example:6379/0",
        shown="none",
        secret=True,
        option=False,
    )
    celery_backend: str | None = setting(
        None,
        "Where workers tell what became of a run.",
        "an address like redis://broker.example:6379/1",
        shown="none",
        secret=True,
        option=False,
    )
    worker_runs: Annotated[int, Field(ge=1)] = setting(
        2, "Runs that a worker works on at a time.", "a whole number above zero", option=False
    )
    ui_root_path: RootPath = setting(
        "",
        "The path of a reverse proxy, not cut off by it, below which the Dagster UI is reached.",
        "a path like /dagster",
        shown="none",
        option=False,
    )
    ui_url: Url = setting(
        lambda known: f"http://127.0.0.1:{known.get('ui_port')}{known.get('ui_root_path')}",
        "Where links of messages to the Dagster UI lead.",
        URL,
        shown="as served here",
        option=False,
    )
    api_url: Url = setting(
        lambda known: f"http://127.0.0.1:{known.get('api_port')}",
        "Where links of messages and of the Dagster UI to the dashboard lead.",
        URL,
        shown="as served here",
        option=False,
    )
    api_host: str = setting("127.0.0.1", "The address that the API listens on.", HERE, option=False)
    ui_host: str = setting("127.0.0.1", "The same of the passwordless UI.", HERE, option=False)
    api_cache_bytes: Count = setting(
        24_000_000,
        "What repeated answers of the API may occupy; 0 keeps none.",
        COUNT,
        option=False,
    )
    api_spool_bytes: Annotated[int, Field(ge=1_000_000)] = setting(
        1_000_000_000,
        "What large answers of the API may occupy on the disk, in the folder for temporary files.",
        "a whole number of bytes, a million or more",
        option=False,
    )
    api_streams: Annotated[int, Field(ge=1)] = setting(
        4_000,
        "Event streams that the API keeps open at a time, as far as its open files allow it.",
        "a whole number above zero",
        option=False,
    )
    root_path: RootPath = setting(
        "",
        "The path of a reverse proxy below which the API is reached, cut off by it or not.",
        "a path like /prices",
        shown="none",
        option=False,
    )
    trusted_proxies: Networks = setting(
        (),
        "Proxies whose `X-Forwarded-For` and `-Proto` the API believes, separated by commas.",
        "addresses or networks like 10.0.0.0/8",
        shown="none",
        option=False,
    )
    frame_origins: Origins = setting(
        (),
        "Sites whose pages may frame a chart of the dashboard (`/embed`), separated by commas.",
        "origins like https://site.example",
        shown="none",
        option=False,
    )
    api_max_lag_seconds: Count | None = setting(
        None,
        "How old the last epoch may be until `/readyz` says no.",
        COUNT,
        shown="any age",
        option=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line and the environment: nobody has named a file."""
        if isinstance(env_settings, EnvSettingsSource):
            filled = {name: str(text).strip() for name, text in env_settings.env_vars.items()}
            env_settings.env_vars = {name: text for name, text in filled.items() if text}
        return init_settings, env_settings

    @classmethod
    def read(cls, **given: object) -> Self:
        """The settings of the environment under what is `given`; None is not given.

        Raises `SettingError`, which names the variable, its value, and what is right.
        """
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**chosen)
        except ValidationError as error:
            raise SettingError(_sentence(error)) from None

    def environment(self) -> dict[str, str]:
        """The variables by which another process has these settings."""
        known = {name: getattr(self, name) for name in (*self.model_fields_set, "data_dir")}
        return {name.upper(): _text(value) for name, value in known.items() if value is not None}

    def with_database(self, url: str) -> Self:
        return self.model_copy(update={"database_url": url})

    def with_node(self, url: str) -> Self:
        return self.model_copy(update={"archive_node_url": url})


VARIABLES: Mapping[str, FieldInfo] = Settings.model_fields


def facts(name: str) -> dict[str, Any]:
    """What `setting` was told of the variable beside its type: `right`, `shown`, `secret`..."""
    told = VARIABLES[name].json_schema_extra
    return told if isinstance(told, dict) else {}


def shown_default(name: str) -> str:
    """The default of a variable as people read it."""
    return str(facts(name).get("shown", _text(VARIABLES[name].default)))


def origin(name: str, given: Container[str]) -> str:
    """Where the value of a variable came from, where these were `given` as options."""
    if name in given:
        return "option"
    return "environment" if os.environ.get(name.upper(), "").strip() else "default"


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]).lower()
    told = facts(name)
    value = "does not say what it should" if told.get("secret") else f"is {first['input']!r}"
    return f"{name.upper()} {value}: set it to {told['right']}."
