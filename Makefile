# One line for each job; what it calls can be called by hand just as well.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
HOST ?= core
SCENARIO ?= default
BENCH ?= converge

.PHONY: help venv demo test test-all lint bench molecule lab shell down

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: .venv/complete ## the controller's Python environment, from pins
.venv/complete: pyproject.toml
	@lab/venv

demo: venv ## bare hosts to a streamed answer, in the lab
	@lab/demo

test: venv ## lint, unit tests, the whole site in the lab
	@tests/run

test-all: venv ## the slow scenarios too
	@tests/run --all

lint: venv ## ansible-lint, yamllint, ruff, mypy
	@tests/lint

bench: venv ## a benchmark: BENCH=converge, gateway, planner or storage
	@PYTHONPATH=collections python -m tests.bench.$(BENCH)

molecule: venv ## one scenario: SCENARIO=default
	@molecule test --scenario-name $(SCENARIO)

lab: venv ## boot the lab's hosts and leave them running
	@python -m lab up

shell: venv ## a login on a host of the lab: HOST=core
	@python -m lab shell $(HOST)

down: ## take the lab away, also after a crash
	@python -m lab down
