"""`python -m operator_prices`: the command line."""

from operator_prices.cli.main import main

main()
