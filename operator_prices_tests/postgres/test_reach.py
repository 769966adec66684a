"""A host with IPv6 alone, as Supabase's databases are, on a machine that has IPv4 alone."""

import os
import shutil
import subprocess
import sys

import psycopg
import pytest

from operator_prices.postgres.reach import needs_ipv6, reason

FAR = "2001:db8::1"
"""An address for documentation, that nobody has."""

ALONE = ["unshare", "--net", "--map-root-user"]
"""Runs a program on a machine without any network."""


def can_be_alone() -> bool:
    program = shutil.which(ALONE[0])
    return program is not None and subprocess.run([*ALONE, "true"], check=False).returncode == 0


@pytest.mark.skipif(not can_be_alone(), reason="no network can be taken from a process here")
def test_a_host_with_ipv6_alone_is_told_with_the_pooler_as_the_way_out() -> None:
    program = (
        "from operator_prices.local.database import usable_database\n"
        "from operator_prices.settings import Settings\n"
        "with usable_database(Settings.read()): pass"
    )
    done = subprocess.run(
        [*ALONE, sys.executable, "-c", program],
        env=os.environ | {"DATABASE_URL": f"postgresql://me:hush@[{FAR}]/prices"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stderr.strip().splitlines()[-1]
    assert "UnusableDatabaseError" in told
    assert f"{FAR} has an IPv6 address alone" in told
    assert "session pooler, port 5432" in told
    assert "hush" not in done.stderr


def test_what_is_reached_by_ipv4_or_here_is_not_blamed_on_ipv6() -> None:
    assert not needs_ipv6("127.0.0.1")
    assert not needs_ipv6("nowhere.invalid")
    said = reason("host=127.0.0.1 port=1", psycopg.OperationalError("connection\nrefused"))
    assert said == "connection refused"
