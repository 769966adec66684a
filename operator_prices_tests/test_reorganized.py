"""What is read and stored of a chain that reorganizes, and of nodes that are behind or wrong."""

from pathlib import Path

import psycopg

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices.verify_chain import verify_chain
from operator_prices_tests.samples import reading

REGULAR = Scenario(seconds_per_block=0, epochs=20, operators=3, forced=())
THOUSAND = 1000


def test_one_list_request_verifies_a_thousand_epochs(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    played = DevChain(REGULAR)
    hashes = [f"0x{played.blocks.hash(block).hex()}" for block in range(2 * THOUSAND)]
    database.cursor().executemany(
        "INSERT INTO epochs (epoch, end_block, end_hash, transition_block, transition_hash,"
        " timestamp, data, source, complete) VALUES (%s, %s, %s, %s, %s, 0, '{}', 'chain', true)",
        [
            (epoch, 2 * epoch, hashes[2 * epoch], 2 * epoch + 1, hashes[2 * epoch + 1])
            for epoch in range(THOUSAND)
        ],
    )
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        assert chain.genesis_hash == hashes[0]
        before = chain.requests
        assert verify_chain(chain, database, 0, THOUSAND) == []
        assert chain.requests - before == 1
