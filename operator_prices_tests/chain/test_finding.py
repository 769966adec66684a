"""What it costs to find where epochs end."""

from pathlib import Path

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.samples import (
    UPGRADED,
    epoch_rows,
    reading,
    true_epoch_rows,
    truth_of,
)

UPGRADED_CHAIN = DevChain(UPGRADED)


def test_two_requests_an_epoch(tmp_path: Path) -> None:
    regular = Scenario(seconds_per_block=0, epochs=320, operators=3, forced=())
    with serving(regular) as node:
        with reading(node.url, tmp_path) as reader:
            reader.read(range(300))
            assert reader.requests <= 300 * 2.2
        with reading(node.url, tmp_path) as reader:
            reader.read([137])
            assert reader.requests <= 8


def test_one_epoch_before_a_forced_transition_costs_one_request_more(tmp_path: Path) -> None:
    played = DevChain(Scenario(seconds_per_block=0, epochs=240, operators=3, forced=(60,)))
    truth = true_epoch_rows(truth_of(played))
    with serving(played) as node:
        with reading(node.url, tmp_path) as reader:
            reader.head()  # fetches the runtime
        for epoch, budget in ((0, 9), (1, 9), (20, 9), (59, 9), (60, 30), (61, 8), (200, 8)):
            with reading(node.url, tmp_path) as reader:
                assert epoch_rows(reader.read([epoch])) == {epoch: truth[epoch]}
                assert reader.requests <= budget, epoch


def test_irregular_epochs_alone_are_read_right(tmp_path: Path) -> None:
    truth = true_epoch_rows(truth_of(UPGRADED_CHAIN))
    with serving(UPGRADED_CHAIN) as node:
        for epoch in (0, 7, 8, 9, 11, 12, 20, 21, 23, 32, 33, 34, 40, 41):
            with reading(node.url, tmp_path) as reader:
                states = reader.read([epoch])
                assert epoch_rows(states) == {epoch: truth[epoch]}
                assert states.skipped.is_empty()
                assert reader.requests <= 40, epoch


def test_runtimes_are_fetched_once_and_kept_on_disk(tmp_path: Path) -> None:
    asked: list[str] = []

    async def note(call: Call) -> object:
        asked.append(call.request["method"])
        return call.answer()

    with serving(UPGRADED_CHAIN, tamper=note) as node:
        for fetched in (3, 0):
            asked.clear()
            with reading(node.url, tmp_path) as reader:
                reader.read(range(60) if fetched else [14, 16, 31])
            assert asked.count("state_getMetadata") == fetched
