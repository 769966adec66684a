"""How fast the API tells of nominators: 10,000 accounts, 64 operators, 5,000 epochs, all changes.

`python -m benchmarks.nominators` prints the figures of docs/nominators.md; it needs some minutes,
most of them to make the rows. With `--keep` they go into the README; with `--serve` it goes on to
serve until it is interrupted.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import psycopg

from benchmarks.api import asked
from benchmarks.figures import Figures
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations
from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import Served, serving

EPOCHS, OPERATORS, ACCOUNTS, EVERY = 5_000, 64, 10_000, 100
"""Each account acts in every hundredth epoch: 1 % of them in each."""

TIMES, UNTIMED = 40, 5
"""How often each is asked for, and how many of these times do not count: the first ones."""

PAUSE = 0.01
"""Seconds between two: the answer before is not only received then, but forgotten as well."""

MILLISECONDS = 15
"""The target of each."""

CHANGES = """
INSERT INTO nominator_positions (operator_id, nominator, epoch, until_epoch, ended, shares_raw,
    pending_raw, withdrawing_shares_raw, unlocking_raw, unlocking, storage_fee_deposit_raw,
    on_hold_raw, deposited_raw, deposited_storage_fee_raw, tax_raw, tax_storage_fee_raw,
    withdrawn_shares_raw, released_raw, released_storage_fee_raw, source)
  SELECT account %% %(operators)s, '0x' || lpad(to_hex(account), 64, '0'), epoch,
    lead(epoch) OVER (PARTITION BY account ORDER BY epoch), false,
    1000000000000000000::numeric * (account + 10 * round), CASE kind WHEN 0 THEN net ELSE 0 END,
    CASE kind WHEN 10 THEN net ELSE 0 END, CASE kind WHEN 11 THEN net ELSE 0 END,
    CASE kind WHEN 11 THEN jsonb_build_array(jsonb_build_object('block', 100 * epoch + 200,
      'amount', net::text, 'storage_fee_refund', div(net, 4)::text)) ELSE '[]' END,
    div(1000000000000000000::numeric * (account + 10 * round), 4), net * 7,
    CASE kind WHEN 0 THEN net ELSE 0 END, CASE kind WHEN 0 THEN div(net, 4) ELSE 0 END,
    CASE kind WHEN 20 THEN 10000 + epoch ELSE 0 END, CASE kind WHEN 20 THEN 2500 ELSE 0 END,
    CASE kind WHEN 10 THEN net ELSE 0 END, CASE kind WHEN 12 THEN net ELSE 0 END,
    CASE kind WHEN 12 THEN div(net, 4) ELSE 0 END, 'chain'
  FROM (
    SELECT account, epoch + step AS epoch, round,
      CASE WHEN round %% 4 = 3 THEN 10 ELSE 0 END + step AS kind
    FROM generate_series(0, %(accounts)s - 1) AS account,
      generate_series(0, %(epochs)s / %(every)s - 1) AS round,
      LATERAL (SELECT round * %(every)s + account %% (%(every)s - 3)) AS at (epoch),
      generate_series(0, CASE WHEN round %% 4 = 3 THEN 2 ELSE 1 END) AS step
    UNION ALL
    SELECT account, epoch, 0, 20 FROM generate_series(0, %(operators)s - 1) AS account,
      generate_series(0, %(epochs)s - 1) AS epoch
    WHERE (epoch + account) %% 4 = 0 AND epoch %% %(every)s NOT BETWEEN
      account %% (%(every)s - 3) AND account %% (%(every)s - 3) + 2) AS change,
    LATERAL (SELECT 7000000000000000000::numeric + account AS net) AS amounts
"""
REST = """
INSERT INTO raw_nominators (epoch, operator_id, nominator, withdrawing_epoch, withdrawing_block,
    withdrawing_shares_raw, withdrawing_storage_fee_raw, source)
  SELECT epoch, operator_id, nominator, epoch, 100 * epoch + 14400, withdrawing_shares_raw,
    div(withdrawing_shares_raw, 4), 'chain'
  FROM nominator_positions WHERE withdrawing_shares_raw > 0;
INSERT INTO nominator_accounts
  SELECT nominator, 'su' || right(nominator, 47) FROM nominator_positions GROUP BY nominator;
INSERT INTO nominator_epochs
  SELECT epoch, end_hash, epoch % 1000 = 0, true, 'chain', 100 * epoch + 99 FROM epochs;
"""


def account(number: int) -> str:
    return f"0x{number:064x}"


PATHS = {
    "an account now": f"/api/nominators/{account(4_711)}",
    "an owner that is taxed to in every fourth epoch, now": f"/api/nominators/{account(5)}",
    "an account over 3,750 epochs": f"/api/nominators/{account(4_711)}?from=1000&to=4750",
    "its history, a sample of 500": f"/api/nominators/{account(4_711)}/history?sample=500",
    "its history, the last 200 epochs": f"/api/nominators/{account(4_711)}/history?from=4800",
    "its history, all 5,000 epochs": f"/api/nominators/{account(4_711)}/history",
    "its history, all 5,000 epochs as CSV": f"/api/nominators/{account(4_711)}/history?format=csv",
    "the owner's history, all 5,000 epochs": f"/api/nominators/{account(5)}/history",
    "an operator's largest 100": "/api/operators/7/nominators",
    "an operator's flows, the last 200 epochs": "/api/operators/7/flows?from=4800",
    "an operator's flows, all 5,000 epochs": "/api/operators/7/flows",
}


def fill(connection: psycopg.Connection) -> int:
    """Write the epochs, then the changes of all accounts; return how many changes."""
    history.write(connection, 0, EPOCHS - 1, OPERATORS, raw=False)
    names = {"operators": OPERATORS, "accounts": ACCOUNTS, "epochs": EPOCHS, "every": EVERY}
    rows = connection.execute(CHANGES, names).rowcount
    connection.execute(REST)
    history.settle(connection)
    return rows


def measured(api: Served, path: str) -> tuple[float, int]:
    """Milliseconds in the median, and bytes, of one question asked again and again."""
    with urlopen(api.url + path) as answer:  # noqa: S310 - this machine's
        size = len(answer.read())
    ask, seconds = asked(api.port, path, {}), []
    for _ in range(TIMES):
        time.sleep(PAUSE)
        seconds.append(ask().last_byte)
    return 1_000 * statistics.median(seconds[UNTIMED:]), size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    parser.add_argument("--serve", action="store_true", help="serve until interrupted")
    wanted = parser.parse_args()
    figures = Figures("nominators")
    with TemporaryDirectory() as folder:
        with embedded.server(Path(folder)) as dsn:
            migrations.migrate(dsn)
            with psycopg.connect(dsn, autocommit=True) as connection:
                print(f"{fill(connection):,} changes of {ACCOUNTS:,} accounts")
            with serving(dsn, API_CACHE_BYTES="0") as api:
                print(f"{api.url} over {dsn}", flush=True)
                for name, path in PATHS.items():
                    median, size = measured(api, path)
                    unit = f"ms, {size:,} bytes"
                    figures.say(f"nominators: {name}", median, unit, MILLISECONDS)
                while wanted.serve:
                    time.sleep(1)
        embedded.remove(Path(folder))
    if wanted.keep:
        figures.keep()
    print(f"{sum(figures.met)} of {len(figures.met)} targets met")
    return 0 if all(figures.met) else 1


if __name__ == "__main__":
    sys.exit(main())
