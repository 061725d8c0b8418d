# What a developer types. `make help` lists the targets.

PYTHON ?= python3
PORT ?= 8000
CATALOGUE ?= default
ARGS ?=
WORKERS ?= 3
export PORT CATALOGUE

VENV := .venv
BIN := $(VENV)/bin
# `exec` and FOLLOW_PARENT: the launcher ends with `make`, however that ends.
LOCAL := exec env FOLLOW_PARENT=1 $(BIN)/python -m local
LOCKED := uv export -q --no-emit-project --format requirements-txt --no-header

.DEFAULT_GOAL := help
.PHONY: help run test mutation bench faults clients messages lint fmt lock clean
.SILENT:

help: ## list the targets
	sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(VENV)/local.stamp ## start everything on http://127.0.0.1:$PORT, until Ctrl-C (CATALOGUE=weatmood, ...)
	$(LOCAL) run

test: $(VENV)/dev.stamp ## run the tests, WORKERS files at a time; ARGS="-k foo" goes to pytest
	$(LOCAL) test -m "not faults" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

faults: $(VENV)/dev.stamp ## kill, pause and starve real processes, and print a table; ROW=leases SEED=7 MINUTES=10
	$(LOCAL) test tests/faults -q -p tests.faults.rows \
	  --row "$(ROW)" --seed "$(SEED)" --minutes "$(MINUTES)" $(ARGS)

mutation: $(VENV)/dev.stamp ## take out the ledger's safeguards in turn: tests must turn red
	$(LOCAL) with-services -- python -m tests.mutation $(ARGS)

bench: $(VENV)/dev.stamp ## measure; ARGS go to tests.bench
	$(LOCAL) with-services -- python -m tests.bench $(ARGS)

clients: $(VENV)/dev.stamp ## run real programs (Claude Code, Codex, SDKs) and write what they did into the docs
	exec $(BIN)/python -m tests.clients $(ARGS)

messages: $(VENV)/dev.stamp ## bring the catalogues of translations up to date, and compile them
	$(BIN)/python -m tests.languages

lint: $(VENV)/dev.stamp ## check style, layers, types and words
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/python -m tests.words

fmt: $(VENV)/dev.stamp ## put the code into the project's style
	$(BIN)/ruff check --fix --quiet || true
	$(BIN)/ruff format

lock: ## resolve the dependencies anew and write the requirements files (needs uv)
	uv lock
	$(LOCKED) --no-dev -o requirements.txt
	$(LOCKED) --no-default-groups --group embedded -o requirements-local.txt
	$(LOCKED) --all-groups -o requirements-dev.txt

clean: ## remove the environment and the caches; data in .local stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# The stamps say which requirements file the environment was made from, so that an unchanged one
# costs nothing. The file for developers holds everything of the one for `make run`.
$(VENV)/local.stamp: requirements-local.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements-local.txt)

$(VENV)/dev.stamp: requirements-dev.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements-dev.txt)
	touch $(VENV)/local.stamp

$(VENV)/bin/python:
	command -v $(PYTHON) >/dev/null || { \
	  echo "there is no $(PYTHON) here: install Python 3.11 or later, or name one in PYTHON="; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed ($(PYTHON) is older): name one in PYTHON="; exit 1; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing: on Debian, apt-get install python3-venv"; exit 1; }
	echo "making $(VENV) ..."
	$(PYTHON) -m venv $(VENV)

# $(1): a requirements file. uv where there is one, as it takes a tenth of pip's time; compiled like
# pip does, as every start would pay for it otherwise.
define install
echo "installing the packages of $(1) ..."
if command -v uv >/dev/null; then \
  uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r $(1) && \
  uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .; \
else \
  $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1) && \
  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; \
fi
touch $@
endef
