# Every target sets up what it needs, in .venv beside this file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
SECONDS ?= 60
SEEDS ?= 200
FIRST ?= 0
STUBS := $(VENV)/micropython-stubs
UMQTT := $(VENV)/micropython-lib/umqtt/simple.py
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup develop demo test test-integration check types lint format cross bench docs clean
.PHONY: bench-protocol bench-firmware bench-noise bench-collector bench-simulator bench-sinks bench-board
.PHONY: house record fuzz vm32 soak prove-oracle contract-sinks new-sensor new-sink deb

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) found. Name another with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python has no venv here. Mend it with:  sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.simulator: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[simulator]'
	@touch $@

$(VENV)/.develop: $(VENV)/.simulator
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	$(PIP) install --upgrade --target $(STUBS) --requirement firmware/stubs.txt
	@touch $@

$(UMQTT): $(VENV)/.simulator
	$(BIN)/python -m simulator.libraries
	@touch $@

setup: $(VENV)/.simulator $(UMQTT) ## environment for the demonstration and the simulator

develop: setup $(VENV)/.develop ## environment for development

demo: setup ## the whole way, live, for SECONDS (60)
	$(BIN)/osn-simulator demo --seconds $(SECONDS)

test: develop ## all tests that need no other server
	$(BIN)/pytest

test-integration: develop ## tests against real servers; each one has to be installed
	OSN_REQUIRE_INTEGRATION=1 $(BIN)/pytest -m integration tests/integration

check: lint types cross ## lint, types, and the board's files compiled for both architectures

lint: develop
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: develop ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: develop
	$(BIN)/mypy
	$(BIN)/mypy --config-file firmware/mypy.ini

cross: develop
	$(BIN)/python -m hardware.cross

bench: bench-protocol bench-firmware bench-noise bench-collector bench-simulator bench-sinks bench-board ## all benchmarks

bench-protocol bench-firmware bench-noise bench-collector bench-sinks bench-board: bench-%: develop
	$(BIN)/python -m benchmarks.$*

bench-simulator: develop
	$(BIN)/python -m simulator.compiled benchmarks.simulator

fuzz: develop ## coverage-guided fuzz of the decoder
	$(BIN)/python -m tests.protocol.fuzz

vm32: develop ## fetch a 32-bit MicroPython for the noise kernel
	$(BIN)/python -m simulator.vm32

soak: develop ## SEEDS random seeds from FIRST on over all scenarios; goes on where it was broken off
	$(BIN)/python -m simulator.soak --seeds $(SEEDS) --first $(FIRST) --state out/soak-$(FIRST).json

contract-sinks: develop ## 100,000 readings to each fake network that fails in every way
	$(BIN)/python -m tests.collector.sinks.contract

prove-oracle: develop ## plant bugs one at a time; the swarm must find each
	$(BIN)/python -m simulator.prove_oracle

new-sensor: develop ## NAME=...: driver, device model, test and docs page to fill in
	$(BIN)/python -m hardware.scaffold sensor $(NAME)

new-sink: develop ## NAME=...: sink, fake server, contract test and docs page to fill in
	$(BIN)/python -m hardware.scaffold sink $(NAME)

house: develop ## rooms, floors and arrows; fails for an arrow back up in collector/ or protocol/
	$(BIN)/python -m docs.house

docs: develop ## generated tables and pictures
	$(BIN)/python -m docs.generate

record: develop ## record the terminal picture of the technician's page
	$(BIN)/python -m docs.recording

deb: develop ## Debian package with its own environment
	packaging/build-deb

clean: ## remove the environment and what was built
	rm -rf $(VENV) build dist out
