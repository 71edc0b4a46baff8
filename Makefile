# Everything installs itself into .venv on first use; only Python 3.11 or newer and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UI := leader/api/ui/index.html
UI_MODULES := ui/node_modules/.package-lock.json
UI_SOURCES := $(shell find ui -path ui/node_modules -prune -o -type f -print 2>/dev/null)
PROTOS := $(sort $(wildcard proto/joblog/v1/*.proto))
DATA_DIR ?= .data

# `make test` always takes the same faults; `make fault` takes others each time, unless told a seed.
TEST_FAULT_SEED ?= 1

make-types = $(BIN)/python docs/openapi.py | ui/node_modules/.bin/openapi-typescript -o $(1) >/dev/null 2>&1

.DEFAULT_GOAL := help
.PHONY: help test-browser ui ui-lint ui-types ui-types-check install run test fault fuzz audit lint format types imports bench drill proto proto-check docs docs-check chart image-check wheel check clean

help: ## list what there is to make
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "joblog needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Without Node.js everything but the UI works, and the leader says so at its address.
$(UI): $(UI_SOURCES)
	@if ! command -v npm >/dev/null; then \
		echo "npm is not there: the admin UI is left out (Node.js 20 or newer builds it)" >&2; \
	else $(MAKE) --no-print-directory $(UI_MODULES) && cd ui && npm run --silent build; fi

$(UI_MODULES): ui/package-lock.json
	cd ui && npm ci --silent --no-audit --no-fund

ui: $(UI) ## build the admin UI, where Node.js is there

ui-lint: ## check the UI's code: types, style, tests of its parts
	@if ! command -v npm >/dev/null; then echo "npm is not there: the admin UI is not checked" >&2; \
	else $(MAKE) --no-print-directory $(UI_MODULES) && $(MAKE) --no-print-directory ui-types-check && \
		cd ui && npx --no-install biome check . && npx --no-install tsc --noEmit && npm test --silent; fi

ui-types: $(INSTALLED) $(UI_MODULES) ## make the UI's types from the HTTP API
	@$(call make-types,ui/src/api/schema.d.ts)

ui-types-check: $(INSTALLED) $(UI_MODULES)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; $(call make-types,"$$folder/schema.d.ts") && \
	diff -q ui/src/api/schema.d.ts "$$folder/schema.d.ts" >/dev/null || \
		{ echo "ui/src/api/schema.d.ts is not what the HTTP API gives: run 'make ui-types'" >&2; exit 1; }

install: $(INSTALLED) ## install joblog and its tools into .venv

run: $(INSTALLED) $(UI) ## start a leader and a worker, run a task through them, show its output live (DEMO_EXIT=1: then stop)
	@DEMO_EXIT='$(DEMO_EXIT)' $(BIN)/python -m joblog.cli.demo --data-dir '$(DATA_DIR)'

# Files with few tests are the slow ones: they are not to come last.
test: $(INSTALLED) $(UI) ## all tests, the fault tests in short
	FAULT_SEED=$(TEST_FAULT_SEED) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m '(not fault or short) and not browser'
	@$(MAKE) --no-print-directory test-browser

test-browser: $(INSTALLED) $(UI) ## the admin UI in a real browser, against real daemons
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'browser and not fault and not alone' tests/browser
	$(BIN)/python -m pytest -m 'browser and alone' tests/browser

fault: $(INSTALLED) ## the fault tests in full: kills, stops and cuts, many rounds (FAULT_SEED=N: the same again)
	$(BIN)/python -m pytest -m fault --timeout 1800 tests

drill: $(INSTALLED) ## lose a leader's disk and restore it, in every mode, to a folder and to S3 servers (DRILL_MIB=N: more load)
	DRILL_MIB=$(or $(DRILL_MIB),16) $(BIN)/python -m pytest --timeout 1800 tests/e2e/test_drill.py

fuzz: $(INSTALLED) ## fuzzing and properties in full: parsers, messages, HTTP (FUZZ_EXAMPLES=N each; about a quarter of an hour with 2000)
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),2000) PROPERTY_PERCENT=100 $(BIN)/python -m pytest --timeout 3600 tests/fuzz tests/property

audit: $(INSTALLED) ## dependencies against what is known of vulnerabilities; needs the network
	.ci/audit

lint: $(INSTALLED) proto-check docs-check imports ui-lint ## ruff, imports between modules, generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## format the code, repair what can be repaired
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

types: $(INSTALLED) ## mypy, strict
	$(BIN)/mypy

imports: $(INSTALLED) ## who may import whom
	$(BIN)/lint-imports

bench: $(INSTALLED) ## all benchmarks, figures into docs/benchmarks.md (one: BENCH=tail; a short try: QUICK=1)
	$(BIN)/python -m bench $(BENCH) $(if $(QUICK),--quick)

proto: $(INSTALLED) ## generate the stubs in joblog/v1 from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

proto-check: $(INSTALLED)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out="$$folder" --pyi_out="$$folder" \
		--grpc_python_out="$$folder" $(PROTOS) && \
	diff -ru --exclude=__init__.py --exclude=__pycache__ joblog/v1 "$$folder/joblog/v1" >/dev/null || \
		{ echo "joblog/v1 is not what proto/ gives with this grpcio-tools: run 'make proto'" >&2; exit 1; }

image-check: $(INSTALLED) ## follow the Dockerfile step by step without a container engine, and run what it makes (root; 3 minutes)
	$(BIN)/python -m pytest --timeout 1800 -m fault tests/deploying/test_image.py

# What helm would install, for who has no helm; a test holds the file to the chart.
chart: $(INSTALLED) ## render the Helm chart into config/kubernetes/joblog.yaml
	.ci/kubernetes-tools
	$(VENV)/kubernetes-tools/helm template joblog config/helm/joblog --namespace joblog | \
		sed '/^# Source/d' >config/kubernetes/joblog.yaml

docs: $(INSTALLED) ## write the pages and sample settings that are made from the code
	$(BIN)/python docs/generate.py

docs-check: $(INSTALLED)
	$(BIN)/python docs/generate.py --check

wheel: $(INSTALLED) $(UI) ## build dist/*.whl and dist/*.tar.gz
	rm -rf dist
	$(BIN)/python -m build --outdir dist

check: test lint types wheel ## everything but the full fault tests and the benchmarks

clean: ## remove what was built, not .venv and not the demo's data
	rm -rf leader/api/ui build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
