"""Tables that are filled from a chain without Dagster."""

import psycopg

from operator_prices import store
from operator_prices.chain import Chain
from operator_prices.epochs import normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES
from operator_prices.epochs.windows import EpochWindow
from operator_prices.ingest import Ingested, ingest

FIRST = EpochWindow(0)


def fill(
    chain: Chain,
    database: psycopg.Connection,
    window: EpochWindow = FIRST,
    *,
    nominators: bool = False,
) -> Ingested:
    """Read a window and bring all tables up to date, without Dagster."""
    done = ingest(chain, database, window, nominators=nominators)
    told = normalized.decoded(store.read(database, EPOCHS, window))
    store.write(database, OPERATOR_SHARE_PRICES, normalized.operator_share_prices(told))
    store.write(database, OPERATOR_SHARES, normalized.operator_shares(told))
    store.merge_operators(database, normalized.operators_metadata(told))
    store.refresh_analytics(database, window)
    store.refresh_positions(database, window)
    return done
