"""All that can be set, in one table."""

from operator_prices.settings.table import (
    CHECKOUT,
    PROJECT,
    READER,
    VARIABLES,
    SettingError,
    Settings,
    default_data_dir,
    facts,
    origin,
    shown_default,
)

__all__ = [
    "CHECKOUT",
    "PROJECT",
    "READER",
    "VARIABLES",
    "SettingError",
    "Settings",
    "default_data_dir",
    "facts",
    "origin",
    "shown_default",
]
