"""A database of the old system, rows as the pipeline writes them, and what verification says."""

import psycopg
from psycopg.types.json import Jsonb

from operator_prices.store import objects

MIGRATIONS = [
    "01_create_normalized_tables",
    "02_create_number_functions",
    "03_update_comprehensive_view",
    "04_create_chain_tables",
    "06_create_serving",
    "07_create_legacy_tables",
    "08_create_alert_incidents",
    "09_create_source_head",
    "10_protect",
    "11_first_generation",
    "12_create_run_signs",
    "13_create_nominators",
    "14_filter_documents",
    "15_create_alerts",
    "17_run_versions",
    "18_serve_nominators",
    "19_check_nominators",
    "20_owners_by_epoch",
    "22_walk_operator_events",
    "23_fill_windows_faster",
    "24_fill_windows_in_one_go",
    "25_flows_alone",
]
OLD_DATABASE = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY,
  end_block INTEGER NOT NULL,
  end_hash TEXT NOT NULL,
  timestamp BIGINT NOT NULL,
  data JSONB NOT NULL,
  created_at TIMESTAMPTZ DEFAULT now(),
  "a note" TEXT DEFAULT 'by hand'
);
CREATE INDEX idx_epochs_timestamp ON epochs (timestamp);
COMMENT ON TABLE epochs IS 'snapshots';

CREATE FUNCTION parse_comma_number(text_val text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF text_val IS NULL OR text_val = '' THEN RETURN 0; END IF;
  RETURN replace(text_val, ',', '')::numeric;
EXCEPTION WHEN OTHERS THEN
  RETURN 0;
END;
$$;
COMMENT ON FUNCTION parse_comma_number(text) IS 'never fails';

CREATE FUNCTION hex_to_numeric(hex_val text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN ('x' || lpad(replace(hex_val, '0x', ''), 16, '0'))::bit(64)::bigint::numeric;
EXCEPTION WHEN OTHERS THEN
  RETURN 0;
END;
$$;

INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)
  SELECT n, 100 + 117 * n, '0x' || md5(n::text) || md5(n::text), 1756259880862 + n,
         jsonb_build_object(
           'epoch', n, 'totalShares', '0', 'accumulatedTreasuryFunds', '1,000',
           'domainStakingSummary', jsonb_build_object(
             'currentTotalStake', '5,603,515,738,263,458,513,279,911',
             'currentOperators', '{"0": "2,950,888,179,878,850,776,696,112"}'::jsonb),
           'operators', '{"count": 1, "entries": []}'::jsonb)
  FROM generate_series(0, 299) AS n;
INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)
  VALUES (300, 40000, '0x', 0, '{"domainStakingSummary": {"currentTotalStake": "about 5"}}'),
         (301, 40100, '0x', 0, '"no object"');

CREATE MATERIALIZED VIEW comprehensive_analytics AS
  SELECT epoch, timestamp,
         parse_comma_number(data -> 'domainStakingSummary' ->> 'currentTotalStake')
           AS total_stake_raw,
         parse_comma_number(data -> 'domainStakingSummary' ->> 'currentTotalStake') / 1e18
           AS total_stake_tokens,
         parse_comma_number(data ->> 'totalShares') AS total_shares_raw,
         1.0 AS network_share_price_ratio,
         hex_to_numeric('0xff') AS extra
  FROM epochs;
CREATE UNIQUE INDEX idx_comprehensive_analytics ON comprehensive_analytics (epoch);
CREATE VIEW latest_analytics AS
  SELECT * FROM comprehensive_analytics ORDER BY epoch DESC LIMIT 1;
"""


def verified(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """What each of the verification queries returns, by its name."""
    told = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute((objects.SQL / "05_verify_migration.sql").read_bytes())
        while True:
            if cursor.description:
                told[cursor.description[0].name] = cursor.fetchall()
            if not cursor.nextset():
                return told


def keep_epoch(
    connection: psycopg.Connection,
    epoch: int,
    data: object,
    *,
    source: str | None = "chain",
    complete: bool | None = True,
) -> None:
    """Write an epoch as the pipeline does."""
    connection.execute(
        "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data, domain_id, source,"
        " transition_block, complete) VALUES (%s, %s, %s, 1756259880862, %s, 0, %s, %s, %s)"
        " ON CONFLICT (epoch) DO UPDATE SET (data, source, transition_block, complete)"
        " = ROW (excluded.data, excluded.source, excluded.transition_block, excluded.complete)",
        [
            epoch,
            1000 + epoch,
            "0x" + "ab" * 32,
            Jsonb(data),
            source,
            1001 + epoch,
            complete,
        ],
    )


def keep_operator(
    connection: psycopg.Connection,
    epoch: int,
    operator_id: int,
    *,
    shares: int,
    stake: int,
    active: int,
    reward: int,
    tax: int = 10,
) -> None:
    connection.execute(
        "INSERT INTO operator_shares (epoch, operator_id, shares_raw, stake_raw, active_stake_raw,"
        " reward_raw, storage_fee_deposit_raw, nomination_tax, status, source)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'Registered', 'chain')",
        [epoch, operator_id, shares, stake, active, reward, stake // 4, tax],
    )


def refresh(connection: psycopg.Connection, first: int = 0, last: int = 1_000) -> int:
    row = connection.execute("SELECT refresh_epoch_analytics(%s, %s)", [first, last]).fetchone()
    assert row
    return int(row[0])
