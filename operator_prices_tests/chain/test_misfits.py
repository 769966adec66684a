"""What does not fit: named and kept apart, never a zero, never a loss of what does fit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import NotASubstrateNodeError, WrongChainError
from operator_prices.chain.substrate import keys, paging, storage
from operator_prices.chain.substrate.layout import Sequence, Struct, Unsigned
from operator_prices.chain.substrate.runtimes import Item, Runtime
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices.epochs import normalized
from operator_prices.epochs.counts import COUNTED
from operator_prices.epochs.tables import EPOCHS
from operator_prices.epochs.windows import EpochWindow
from operator_prices.ingest import ingest
from operator_prices_tests.support.commands import run
from operator_prices_tests.support.samples import Spoiler, own_copy, reading, truth_of

PLAYED = DevChain(Scenario(seconds_per_block=0, epochs=12, operators=3, forced=()))
WINDOW = EpochWindow(0)


def cut(value: str) -> str:
    return value[:-2]


def lose(value: str) -> None:
    del value


@pytest.mark.parametrize(
    ("change", "reason"), [(cut, "7 bytes are no Now"), (lose, "the state has no Now")]
)
def test_an_epoch_whose_time_is_not_understood_is_kept_and_read_again(
    change: Callable[[str], str | None], reason: str, database: psycopg.Connection, tmp_path: Path
) -> None:
    told = truth_of(PLAYED)[5]
    spoiler = Spoiler(storage.NOW, change, at=told.end_hash)
    query = (
        "SELECT timestamp, data -> 'timestamp', data #>> '{transition,timestamp}', complete"
        " FROM epochs WHERE epoch = 5"
    )
    with serving(PLAYED, tamper=spoiler) as node, reading(node.url, tmp_path) as chain:
        done = ingest(chain, database, WINDOW)
        assert (done.epochs_read, done.quarantined) == (12, 1)
        ((time, own, after, complete),) = database.execute(query).fetchall()
        assert (own, str(time), complete) == (None, after, False)
        assert time > told.timestamp
        assert store.summary(database).incomplete == [5]
        assert store.summary(database).gaps == []
        ((item, why),) = database.execute("SELECT item, reason FROM quarantine").fetchall()
        assert item == "Now"
        assert reason in why
        shares = normalized.operator_shares(
            normalized.decoded(store.read(database, EPOCHS, WINDOW))
        )
        assert 5 in shares["epoch"]
        spoiler.active = False
        assert ingest(chain, database, WINDOW).epochs_read == 1
    ((time, own, _, complete),) = database.execute(query).fetchall()
    assert (time, own, complete) == (told.timestamp, told.timestamp, True)


@pytest.mark.e2e
@pytest.mark.parametrize(
    "prefix", [storage.NOW, keys.prefix("Domains", "Operators")], ids=["time", "operators"]
)
def test_a_backfill_with_a_misfit_keeps_the_rest_and_ends_with_3(
    prefix: str, dsn: str, tmp_path: Path
) -> None:
    spoiler = Spoiler(prefix, cut, at=truth_of(PLAYED)[5].end_hash)
    with serving(PLAYED, tamper=spoiler) as node:
        settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
        done = run("backfill", "--from", "0", "--to", "latest", data_dir=tmp_path, **settings)
        assert done.returncode == 3, done.stdout + done.stderr
        told = run("status", data_dir=tmp_path, **settings).stdout
        assert "Incomplete" in told
        spoiler.active = False
        again = run("backfill", "--from", "0", "--to", "latest", data_dir=tmp_path, **settings)
        assert again.returncode == 0, again.stdout + again.stderr
    with psycopg.connect(dsn) as connection:
        count = connection.execute("SELECT count(*) FROM operator_shares").fetchone()
    assert count == (sum(len(told.operators) for told in truth_of(PLAYED)),)


def test_collections_of_another_layout_are_not_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime whose rewards are said to be `u64`."""
    compiled = Runtime.compile

    def compile_otherwise(spec_version: int, metadata: bytes) -> Runtime:
        runtime = compiled(spec_version, metadata)
        summary = runtime.items["DomainStakingSummary"]
        assert isinstance(summary.layout, Struct)
        rewards = Sequence(Struct((("0", Unsigned(8)), ("1", Unsigned(8)))))
        fields = {**dict(summary.layout.fields), "current_epoch_rewards": rewards}
        item = Item(Struct(tuple(fields.items())), summary.default)
        return replace(runtime, items={**runtime.items, "DomainStakingSummary": item})

    monkeypatch.setattr(Runtime, "compile", compile_otherwise)
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        read = chain.read([5])
    assert set(read.quarantined["item"]) == {"DomainStakingSummary"}
    assert read.quarantined["reason"].str.contains("no known layout of .*epoch_rewards").all()
    assert read.operators["active_stake"].null_count() == read.operators.height > 0


@pytest.mark.parametrize(
    "spoil",
    [
        *("{}", "[]", "null", "", '{"mark": {}}'),
        lambda form: form[: len(form) // 2],
        lambda form: form.replace('"confirmation_depth": 100', '"confirmation_depth": 0'),
    ],
)
def test_a_spoiled_cache_is_filled_again_from_the_node(
    spoil: str | Callable[[str], str], tmp_path: Path
) -> None:
    with serving(PLAYED) as node:
        with reading(node.url, tmp_path) as chain:
            head = chain.head()
        (file,) = tmp_path.rglob("*.json")
        good = file.read_text()
        file.write_text(spoil if isinstance(spoil, str) else spoil(good))
        assert file.read_text() != good
        with reading(node.url, tmp_path) as chain:
            assert chain.head() == head
    assert file.read_text() == good


def test_the_cache_of_another_chain_is_not_believed(tmp_path: Path) -> None:
    other = DevChain(Scenario(seconds_per_block=0, epochs=12, operators=3, forced=(), seed=7))
    for played in (PLAYED, other):
        with serving(played) as node, reading(node.url, tmp_path) as chain:
            chain.head()
    assert {file.parent.name for file in tmp_path.rglob("*.json")} == {
        PLAYED.genesis_hash,
        other.genesis_hash,
    }


@pytest.mark.parametrize("told", [None, "0x", "0x6d657461", "half", "text", 5])
def test_metadata_that_cannot_be_read_is_an_error_that_says_so(
    told: object, tmp_path: Path
) -> None:
    async def spoil(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "state_getMetadata":
            whole = answer["result"]
            answer["result"] = whole[: len(whole) // 4 * 2] if told == "half" else told
        return answer

    with (
        serving(PLAYED, tamper=spoil) as node,
        reading(node.url, tmp_path) as chain,
        pytest.raises(NotASubstrateNodeError, match="set ARCHIVE_NODE_URL to another node"),
    ):
        chain.head()
    assert not [*tmp_path.rglob("*.json")]


def test_maps_are_counted_to_their_last_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        at = truth_of(PLAYED)[7].end_hash
        at_once = chain.count(at, COUNTED)
        assert at_once["deposits"] > 2
        for size in (1, 2, at_once["deposits"]):
            monkeypatch.setattr(paging, "PAGE", size)
            assert chain.count(at, COUNTED) == at_once


def test_another_domain_of_the_same_chain_is_refused(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        ingest(chain, database, WINDOW)
    store.refuse_other_chain(database, PLAYED.genesis_hash, 0)
    with pytest.raises(WrongChainError, match=r"holds domain 0 .* serves domain 1"):
        store.refuse_other_chain(database, PLAYED.genesis_hash, 1)
    assert store.pinned_chain(database) == (PLAYED.genesis_hash, 0)
