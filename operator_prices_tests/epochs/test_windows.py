import pytest

from operator_prices.epochs.windows import EpochWindow, between


@pytest.mark.parametrize(
    ("epoch", "key"), [(0, "000000-000099"), (99, "000000-000099"), (3_742, "003700-003799")]
)
def test_every_epoch_has_one_window(epoch: int, key: str) -> None:
    window = EpochWindow.containing(epoch)
    assert window.key == key
    assert EpochWindow.parse(key) == window


@pytest.mark.parametrize("key", ["", "3700", "003701-003800", "3700-3799", "003700-003798"])
def test_nothing_else_is_a_window(key: str) -> None:
    with pytest.raises(ValueError, match=r"window|int"):
        EpochWindow.parse(key)


def test_between_covers_both_ends() -> None:
    assert [window.first for window in between(99, 100)] == [0, 100]
