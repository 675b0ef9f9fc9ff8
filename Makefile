# Every target first makes what it needs. On a new machine with Python 3.11 to 3.13 and make, `make demo` is enough.
# The Python that makes .venv.
PYTHON ?= python3
# Options for pip, for example another index.
PIP_FLAGS ?=
HOST ?= 127.0.0.1
PORT ?= 8000

BIN := .venv/bin
ROOMS := models training service eddylift tests examples
# One worker per core, one test file at a time; conftest.py puts files with slow tests first. A test that ends its worker,
# as one that hangs does, ends the run: with another worker, xdist would begin it again.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# Tests of tensor code. Elsewhere array shapes are not checked at run time, which would take a quarter longer.
NUMERIC := tests/escnn tests/models tests/training
# The others also wait for disks, sockets and processes, which leaves time for one more worker.
WORKERS = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: help install demo test test-all image-check bench docs serve train page page-check lint format lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed  ## install everything into .venv

demo: install  ## super-resolve held-out turbulence over HTTP; print the errors, draw the figure
	$(BIN)/python examples/demo.py

test: lint  ## lint, then run the tests
	$(PYTEST) $(NUMERIC)
	$(PYTEST) --numprocesses $(WORKERS) $(addprefix --ignore=,$(NUMERIC)) --jaxtyping-packages=

test-all: export KILLS = 20
test-all: export FAULT_SEEDS = 4
test-all: export PYTEST_ADDOPTS = -m "" -o faulthandler_timeout=7200
test-all: test  ## also more kills and faults, the benchmarks and a minute of endurance

image-check: install  ## build the image and run it; needs root, buildah and debootstrap (ARGS= for buildah build)
	$(BIN)/python -m tests.image.check $(ARGS)

bench: .venv/.bench  ## compare speed with other networks, tools and servers (ARGS=--quick); write tests/benchmarks/BENCH.md
	$(BIN)/python -m tests.benchmarks $(ARGS)

docs: .venv/.docs  ## build the documentation into site/
	$(BIN)/python -m mkdocs build --strict

serve: install  ## start the service (HOST=, PORT=)
	$(BIN)/python -m service --host $(HOST) --port $(PORT)

train: install  ## train a model (ARGS=, see `python -m training train --help`)
	$(BIN)/python -m training train $(ARGS)

page:  ## build the web page of the service from web/ (needs node)
	cd web && npm ci --no-audit --no-fund && npm run build

page-check: page  ## check that the committed page is up to date
	test -z "$$(git status --porcelain service/page)"

lint: install  ## check style, types, Dockerfile, Compose file and CITATION.cff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(ROOMS)
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: install  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One release of each package for all Pythons, so that the tests of one speak for the others. What torch requires depends on
# its build, CPU or CUDA, which pins it.
lock: install  ## pin the newest releases in constraints.txt
	$(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --all-extras --no-annotate \
		--no-header pyproject.toml > .venv/constraints.txt
	{ echo '# By make lock.'; grep -v '^nvidia-\|^cuda-\|^triton=' .venv/constraints.txt; } > constraints.txt

clean:  ## remove the environments and caches
	rm -rf .venv web/node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache

# Without their dependencies: py3nj needs a Fortran compiler and is not used; the others are in pyproject.toml.
ESCNN := escnn-atompaint==1.1.0 lie_learn==0.0.2
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or \
		sys.exit("$(PYTHON) is not Python 3.11 to 3.13; name one that is: make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps $(ESCNN)
	touch $@

.venv/.bench: .venv/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev,bench]'
	touch $@

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev,docs]'
	touch $@
