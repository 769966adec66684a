"""Settings: where they come from, and what a wrong one is told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from operator_prices.settings import (
    CHECKOUT,
    PROJECT,
    VARIABLES,
    SettingError,
    Settings,
    facts,
    shown_default,
)

WRONG = [
    ("REQUESTS_PER_SECOND", "0"),
    ("REQUESTS_PER_SECOND", "nan"),
    ("REQUESTS_PER_SECOND", "inf"),
    ("REQUESTS_PER_SECOND", "many"),
    ("KEEP_RUNS_DAYS", "-1"),
    ("LAG_LIMIT", "-5"),
    ("CONFIRMATION_DEPTH", "1.5"),
    ("DOMAIN_ID", "-1"),
    ("UI_PORT", "0"),
    ("API_PORT", "http"),
    ("READ_PATH", "sql"),
    ("UI_URL", "prices.example"),
    ("API_CACHE_BYTES", "-1"),
]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any of our variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_value_names_the_variable_the_value_and_what_is_right(
    name: str, text: str, bare: pytest.MonkeyPatch
) -> None:
    bare.setenv(name, text)
    right = facts(name.lower())["right"]
    with pytest.raises(SettingError, match=re.escape(f"{name} is {text!r}: set it to {right}.")):
        Settings.read()


def test_a_wrong_secret_is_not_repeated(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("ARCHIVE_NODE_AUTHORIZATION", "Basic abc\nX-Other: 1")
    with pytest.raises(SettingError, match="ARCHIVE_NODE_AUTHORIZATION") as refused:
        Settings.read()
    assert "abc" not in str(refused.value)


def test_no_text_form_of_the_settings_shows_a_secret(bare: pytest.MonkeyPatch) -> None:
    secrets = [name for name in VARIABLES if facts(name).get("secret")]
    assert len(secrets) >= 5
    for name in secrets:
        address = "postgresql://me:hush@db.example/prices"
        bare.setenv(name.upper(), address if name.endswith("database_url") else "hush")
    assert "hush" not in repr(Settings.read())
    assert "hush" not in str(Settings.read())


def test_what_is_given_comes_before_the_environment_and_blanks_do_not_count(
    bare: pytest.MonkeyPatch,
) -> None:
    bare.setenv("ARCHIVE_NODE_AUTHORIZATION", " Basic abc\n")
    bare.setenv("LAG_LIMIT", " 7 ")
    bare.setenv("UI_PORT", "  ")
    bare.setenv("API_PORT", "8001")
    read = Settings.read(api_port="8002", ui_port=None)
    assert (read.archive_node_authorization, read.lag_limit) == ("Basic abc", 7)
    assert (read.ui_port, read.api_port) == (3000, 8002)
    assert read.api_url == "http://127.0.0.1:8002"


def test_another_process_reads_the_same_settings(bare: pytest.MonkeyPatch) -> None:
    first = Settings.read(cors_origins="https://a.example, https://b.example", lag_limit="9")
    for name, text in first.environment().items():
        bare.setenv(name, text)
    assert Settings.read() == first


def test_no_file_of_settings_is_read_that_nobody_named(
    bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("DOMAIN_ID=7\nLAG_LIMIT=7\n")
    bare.chdir(tmp_path)
    assert (Settings.read().domain_id, Settings.read().lag_limit) == (0, 5)


def test_data_lie_in_the_checkout(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.chdir(tmp_path)
    assert CHECKOUT is not None
    assert Settings.read().data_dir == CHECKOUT / ".data"
    assert Settings.read(data_dir="here").data_dir == tmp_path / "here"


def test_where_alerts_go_is_no_address_over_http_alone() -> None:
    with pytest.raises(SettingError, match=r"set it to addresses as docs/alerts\.md shows them"):
        Settings.read(alert_webhook_url=7)


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    readme = (PROJECT / "README.md").read_text()
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| (.+?) \| (.+?) \|$", readme, re.MULTILINE)
    told = {names.strip("`"): (default, meaning) for names, default, meaning in rows}
    assert set(told) == {name.upper() for name in VARIABLES}
    for name, field in VARIABLES.items():
        default, meaning = told[name.upper()]
        assert default.replace("`", "") == shown_default(name).replace("`", "")
        assert meaning == field.description


def test_the_command_tells_value_and_origin_of_each_setting_and_no_secret(tmp_path: Path) -> None:
    kept = {name: text for name, text in os.environ.items() if name.lower() not in VARIABLES}
    given = {
        "DATABASE_URL": "postgresql://me:hush@db.example/prices",
        "ARCHIVE_NODE_AUTHORIZATION": "Bearer hush",
        "ARCHIVE_NODE_URL": "wss://me:hush@node.example/ws?token=hush",
        "ALERT_WEBHOOK_URL": "https://hooks.example/services/hush",
        "UI_PORT": "1",
        "API_PORT": "8001",
    }
    done = subprocess.run(
        [sys.executable, "-m", "operator_prices", "settings", "--ui-port", "4000"],
        env=kept | given | {"DATA_DIR": str(tmp_path), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hush" not in done.stdout + done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for name in VARIABLES:
        assert name.upper() in lines
    assert "postgresql://me@db.example/prices" in lines["DATABASE_URL"]
    assert lines["DATABASE_URL"].rstrip().endswith("environment")
    assert "4000" in lines["UI_PORT"]
    assert lines["UI_PORT"].rstrip().endswith("option")
    assert "8001" in lines["API_PORT"]
    assert lines["API_PORT"].rstrip().endswith("environment")
    assert lines["DOMAIN_ID"].rstrip().endswith("default")


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Site.Example/", "https://site.example"),
        ("HTTPS://site.example:443", "https://site.example"),
        ("http://site.example:8080", "http://site.example:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[0:0::1]:3000/", "http://[::1]:3000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://a_b.example.", "https://a_b.example."),
        ("*", "*"),
    ],
)
def test_an_origin_is_taken_as_browsers_write_it(
    bare: pytest.MonkeyPatch, given: str, origin: str
) -> None:
    bare.setenv("CORS_ORIGINS", given)
    assert Settings.read().cors_origins == (origin,)


@pytest.mark.parametrize(
    "given",
    [
        *("site.example", "ftp://site.example", "https://site.example/page", "https://a@b.example"),
        *("null", "https://*.example", "https:// site.example", "https://site.example;"),
        *("https://site..example", "https://-a.example", "https://site.example:99999"),
        *("http://127.1", "http://300.1.1.1", "https://a.example https://b.example"),
    ],
)
def test_what_is_no_origin_is_refused_at_the_start(bare: pytest.MonkeyPatch, given: str) -> None:
    bare.setenv("CORS_ORIGINS", given)
    with pytest.raises(SettingError, match="CORS_ORIGINS"):
        Settings.read()


def test_sites_below_a_name_may_frame_a_chart(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("FRAME_ORIGINS", "https://*.Site.example/, https://site.example")
    assert Settings.read().frame_origins == ("https://*.site.example", "https://site.example")
