"""Operator share prices of Autonomys domains, epoch by epoch, from chain to table."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("operator-prices")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "not installed"
