import pytest

from operator_prices.options import OptionError, Options


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REQUESTS_PER_SECOND", "0"),
        ("REQUESTS_PER_SECOND", "nan"),
        ("REQUESTS_PER_SECOND", "inf"),
        ("REQUESTS_PER_SECOND", "many"),
        ("KEEP_RUNS_DAYS", "-1"),
        ("LAG_LIMIT", "-5"),
        ("CONFIRMATION_DEPTH", "1.5"),
        ("DOMAIN_ID", "-1"),
        ("ARCHIVE_NODE_AUTHORIZATION", "Basic abc\nX-Other: 1"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(OptionError, match=name):
        Options.read({name: text})


def test_blanks_around_a_value_do_not_count() -> None:
    read = Options.read({"ARCHIVE_NODE_AUTHORIZATION": " Basic abc\n", "LAG_LIMIT": " 7 "})
    assert (read.archive_node_authorization, read.lag_limit) == ("Basic abc", 7)
