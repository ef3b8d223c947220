# `make help` lists the targets. PYTHON, PROFILE and DATA may be given on the command line.
PYTHON ?= $(firstword $(foreach p,python3.12 python3.13 python3.11 python3,$(shell command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $(p))))
PROFILE ?= shapes
DATA ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers

.PHONY: help setup reproduce-all report test peers peers-test lint clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with the package, editable, its test tools and extras

# uv installs the pinned set in a quarter of pip's time; it comes into the environment itself, not onto the machine.
$(READY): pyproject.toml requirements.txt
	@test -n "$(PYTHON)" || { echo "fa-repro needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --requirement requirements.txt --editable '.[captum,superpixels,test,lint]'
	touch $@

reproduce-all: $(READY) ## train, verify and benchmark every network, and report: PROFILE=shapes, or PROFILE=cifar10, tiny_imagenet, imagenette, fashion_mnist or search DATA=DIR (on a GPU: cifar10_gpu, fashion_mnist_gpu, imagenette_gpu)
	@BIN=$(BIN) scripts/reproduce.sh $(PROFILE) $(if $(DATA),"$(DATA)")

report: $(READY) ## gather everything under results/ into results/REPORT.md and the README
	$(BIN)/fa-repro report readme=README.md

test: $(READY) ## all tests, in two processes of one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

peers: peers-test ## other libraries' numbers and speeds beside ours, into results/peers: DATA=DIR of the CIFAR-10 images
	$(PEERS)/bin/python scripts/compare_peers.py $(if $(DATA),--data-root "$(DATA)")

peers-test: $(PEERS)/.ready ## the other libraries themselves say what we say; sweeps through submitit
	OMP_NUM_THREADS=1 $(PEERS)/bin/python -m pytest -n 2 tests/test_peers_*.py tests/test_cluster.py

# An environment of its own: the libraries bring some forty packages that nothing else here needs.
$(PEERS)/.ready: $(READY)
	test -x $(PEERS)/bin/python || $(BIN)/python -m venv $(PEERS)
	VIRTUAL_ENV=$(PEERS) $(BIN)/uv pip install --quiet --requirement requirements.txt --editable '.[captum,superpixels,cluster,test,peers]'
	touch $@

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove what builds and tests leave; results and .venv stay
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './$(PEERS)/*' -prune -exec rm -rf {} +
