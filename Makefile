PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Compiled modules are kept, or each of the tests' many processes would compile them again.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help venv demo smollm2 test test-all fuzz bench docs docs-serve lint format clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## build or refresh .venv (PYTHON=python3.11 or later)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "wanted Python 3.11 or later, got $$($(PYTHON) -V 2>&1): make PYTHON=/path/to/python3"; exit 1; }
	@echo "installing into $(VENV): a few minutes the first time"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[adapters,docs,engine,notebooks,observe,parallel,report,sweep,dev]'
	@touch $@

demo: $(STAMP) ## profile the demo model on this machine and simulate it
	$(BIN)/python -m adadecode.engine.cli.demo $(ARGS)

FETCH := $(BIN)/python -m adadecode.engine.cli.fetch

smollm2: $(STAMP) ## fetch a small chat model (93 MB) once, for --model smollm2
	$(FETCH)

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

test: $(STAMP) ## run the quick tests, about 8 minutes (ARGS="-k scheduler" to choose)
	@$(FETCH) || echo "without that model its tests are skipped"
	$(PYTEST) -m 'not slow' $(ARGS)

test-all: $(STAMP) ## run every test, with more examples of the property tests
	@$(FETCH) || echo "without that model its tests are skipped"
	$(PYTEST) --hypothesis-profile=thorough $(ARGS)

fuzz: $(STAMP) ## change files at random and see that readers refuse them (ARGS="--minutes 30 --seed 7")
	OMP_NUM_THREADS=1 $(BIN)/python -m scripts.fuzz $(ARGS)

bench: $(STAMP) ## run the benchmarks
	$(BIN)/python -m benchmarks.run $(ARGS)

docs: $(STAMP) ## build the documentation into site/, without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

docs-serve: $(STAMP) ## serve the documentation at http://127.0.0.1:8000 and rebuild it at changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve $(ARGS)

lint: $(STAMP) ## check style, docstrings, format, import contracts and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

format: $(STAMP) ## rewrite the sources in the project's format, with safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and build outputs, but not .venv
	rm -rf build site *.egg-info src/*.egg-info
	rm -rf .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
