# Two commands do it all: `make up` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Chatter of the installer is kept back, its errors are not.
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: up test check versions clean
.DELETE_ON_ERROR:

up: $(VENV)/installed  ## start everything and serve the Dagster UI until Ctrl-C
	@$(BIN)/operator-prices up

test: $(VENV)/installed-dev  ## run the test suite against a real Postgres and the development chain
	@$(BIN)/python -m pytest -n 3 -m "not e2e and not soak"

check: $(VENV)/installed-dev  ## linters, types, and who may know whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

versions:  ## the suite on each Python that is here, each in an environment of its own
	@for version in 3.11 3.12 3.13 3.14; do \
	  python$$version -c '' 2>/dev/null || { echo "python$$version is not here"; continue; }; \
	  $(MAKE) --no-print-directory PYTHON=python$$version VENV=.venv/$$version test || exit 1; \
	done

clean:  ## remove the virtual environment; the data stays
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: say which one with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing operator-prices into $(VENV) (a minute, the first time)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(PIP) --editable '.[dev]'
	@touch $@
