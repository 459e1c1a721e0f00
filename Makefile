# Everything here works from a fresh clone with Python 3.11 and nothing else.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install install-dev test demo bench conformance lock clean

help: ## list what make can do
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

install: .venv/installed ## set up .venv with the command .venv/bin/postback

install-dev: .venv/installed-dev ## set up .venv with what the tests need, too

test: .venv/installed-dev ## lint, check types, run the tests
	@echo "Linting" && $(BIN)/ruff check --quiet && $(BIN)/ruff format --check --quiet
	@echo "Checking types" && $(BIN)/mypy --no-error-summary
	@echo "Running the tests" && $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

demo: .venv/installed ## start a server, log a realistic batch, say what came back (DEMO_ONCE=1: then stop)
	@$(BIN)/postback demo

bench: .venv/installed-dev ## measure, and print the table of docs/benchmarks.md
	@$(BIN)/python -m benchmarks

conformance: .venv/installed-dev conformance/node_modules/.installed ## run the official AdCP runner against a sandbox; needs Node.js
	@$(BIN)/python -m conformance --write

conformance/node_modules/.installed: conformance/package-lock.json
	@echo "Installing the official AdCP runner"
	@cd conformance && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

lock: build/lock/bin/uv ## choose the newest dependencies and pin them in requirements/
	@echo "Locking requirements/dev.txt and requirements/run.txt"
	@$< $(LOCK) --upgrade --group dev --output-file requirements/dev.txt
	@$< $(LOCK) --upgrade --constraint requirements/dev.txt --output-file requirements/run.txt

LOCK = pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock"

clean: ## remove what these commands made
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis conformance/node_modules

.venv/bin/python:
	@echo "Creating .venv"
	@$(PYTHON) -c 'import sys; sys.exit("Postback needs Python 3.11 or newer." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv

# The stamp is older than its lock exactly when there is something to install.
.venv/installed: requirements/run.txt pyproject.toml | .venv/bin/python
	@echo "Installing Postback into .venv (the first time takes a minute)"
	@$(PIP) install --require-hashes --requirement requirements/run.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

.venv/installed-dev: requirements/dev.txt .venv/installed
	@echo "Installing the development tools into .venv"
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@

build/lock/bin/uv:
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/pip install --quiet --disable-pip-version-check uv
