PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help venv demo test bench lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## build or refresh .venv (PYTHON=python3.11 or later)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "wanted Python 3.11 or later, got $$($(PYTHON) -V 2>&1): make PYTHON=/path/to/python3"; exit 1; }
	@echo "installing into $(VENV): a few minutes the first time"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[engine,notebooks,parallel,report,sweep,dev]'
	@touch $@

demo: $(STAMP) ## profile the demo model on this machine and simulate it
	$(BIN)/python -m adadecode.engine.cli.demo $(ARGS)

test: $(STAMP) ## run the tests (ARGS="-k scheduler" to choose)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

bench: $(STAMP) ## run the benchmarks
	$(BIN)/python -m benchmarks.run $(ARGS)

lint: $(STAMP) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and build outputs, not .venv
	rm -rf build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
