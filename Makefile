# Every target makes what it needs first: on a fresh machine with Python 3.11 and make, `make demo` is enough.
PYTHON ?= python3
# Passed to pip, for example to name an index.
PIP_FLAGS ?=
HOST ?= 127.0.0.1
PORT ?= 8000

BIN := .venv/bin
ESCNN := .venv-escnn
ROOMS := models training service eddylift tests examples

.PHONY: help install demo test bench serve train lint format clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed  ## make .venv with everything in it

demo: install  ## super-resolve held-out turbulence over HTTP; prints the table, draws the figure
	$(BIN)/python examples/demo.py

test: lint $(ESCNN)/.installed  ## lint, then run all tests
	$(BIN)/python -m pytest
	$(ESCNN)/bin/python -m pytest tests/escnn

bench: .venv/.bench  ## measure against other networks, tools and servers (ARGS=--quick); writes tests/benchmarks/BENCH.md
	$(BIN)/python -m tests.benchmarks $(ARGS)

serve: install  ## start the service (HOST=, PORT=)
	$(BIN)/python -m service --host $(HOST) --port $(PORT)

train: install  ## train a model (ARGS=, see `python -m training train --help`)
	$(BIN)/python -m training train $(ARGS)

lint: install  ## check style, types and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(ROOMS)
	$(BIN)/hadolint Dockerfile

format: install  ## put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environments and caches
	rm -rf .venv $(ESCNN) .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	touch $@

.venv/.bench: .venv/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev,bench]'
	touch $@

# escnn declares what it does not need (py3nj, which takes a Fortran compiler to build), so what it does need is listed.
$(ESCNN)/.installed: tests/escnn/requirements.txt
	$(PYTHON) -m venv $(ESCNN)
	$(ESCNN)/bin/python -m pip install $(PIP_FLAGS) --requirement $<
	$(ESCNN)/bin/python -m pip install $(PIP_FLAGS) --no-deps escnn==1.0.11 lie_learn==0.0.2
	touch $@
