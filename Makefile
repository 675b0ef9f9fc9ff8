# Every target makes what it needs first: on a fresh machine with Python 3.11 and make, `make demo` is enough.
PYTHON ?= python3
# Passed to pip, for example to name an index.
PIP_FLAGS ?=
HOST ?= 127.0.0.1
PORT ?= 8000

BIN := .venv/bin
ROOMS := models training service eddylift tests examples
# Each file of tests to one of as many workers as there are cores; files with slow tests first, as conftest.py sorts them.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
# What computes with tensors; elsewhere shapes are not checked at run time, as that takes a quarter of the time.
NUMERIC := tests/escnn tests/models tests/training

.PHONY: help install demo test test-all image-check bench docs serve train page page-check lint format clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed  ## make .venv with everything in it

demo: install  ## super-resolve held-out turbulence over HTTP; prints the table, draws the figure
	$(BIN)/python examples/demo.py

test: lint  ## lint, then run the tests
	$(PYTEST) $(NUMERIC)
	$(PYTEST) $(addprefix --ignore=,$(NUMERIC)) --jaxtyping-packages=

test-all: export KILLS = 20
test-all: export PYTEST_ADDOPTS = -m ""
test-all: test  ## the same with more kills, the benchmarks and a minute of endurance

image-check: install  ## build the image and run it, as root, with buildah and debootstrap (ARGS= of buildah build)
	$(BIN)/python -m tests.image.check $(ARGS)

bench: .venv/.bench  ## measure against other networks, tools and servers (ARGS=--quick); writes tests/benchmarks/BENCH.md
	$(BIN)/python -m tests.benchmarks $(ARGS)

docs: .venv/.docs  ## build the documentation into site/
	$(BIN)/python -m mkdocs build --strict

serve: install  ## start the service (HOST=, PORT=)
	$(BIN)/python -m service --host $(HOST) --port $(PORT)

train: install  ## train a model (ARGS=, see `python -m training train --help`)
	$(BIN)/python -m training train $(ARGS)

page:  ## build the page of the service from web/ (takes node)
	cd web && npm ci --no-audit --no-fund && npm run build

page-check: page  ## fail if the page that is committed is another one
	test -z "$$(git status --porcelain service/page)"

lint: install  ## check style, types, the Dockerfile, the Compose file and how to cite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(ROOMS)
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: install  ## put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environments and caches
	rm -rf .venv web/node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache

# Without what they declare: py3nj takes a Fortran compiler, and is not used. What they do need is in pyproject.toml.
ESCNN := escnn-atompaint==1.1.0 lie_learn==0.0.2
.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps $(ESCNN)
	touch $@

.venv/.bench: .venv/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev,bench]'
	touch $@

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev,docs]'
	touch $@
