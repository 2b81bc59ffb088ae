# ccbench on a machine with Python 3.11 or newer, make and pip. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(CURDIR)/$(VENV)/bin
METHOD ?= ccis-diff
PYTEST ?=

# An activated environment must not leak in: everything below runs from .venv by its full path.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /make \1#/p' $(firstword $(MAKEFILE_LIST)) | awk -F'#' '{printf "  %-12s %s\n", $$1, $$2}'

demo: $(VENV)/.installed ## A first look at one method on the embedded protocol (METHOD=ccis-diff)
	@$(BIN)/ccbench run --method $(METHOD) --quick

# A process a core, each of one thread: the networks of the tests are tiny, and threads would wait for each other.
# A file is one process's, so that what its tests share is made once. `.ci/run` adds those of -m slow.
test: $(VENV)/.installed-test ## Run the test suite
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST)

lint: $(VENV)/.installed-dev ## Check style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean: ## Remove the environment and the caches (runs/ stays)
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find ccbench methods tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "removed $(VENV) and caches; runs/ stays"

# Debian ships python3 without ensurepip unless python3-venv is installed: then the system's pip fills the environment.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	  || { echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13; install one and run: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV); } \
	  || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv"; exit 3; }

# $(1): the extra to install, with its brackets, or nothing.
define install
	@echo "installing ccbench$(1) into $(VENV); the first time downloads about 3 GB (V=1 shows pip at work)"
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; \
	  elif $(PYTHON) -m pip --python $(BIN)/python --version >/dev/null 2>&1; then pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	  else echo "error: no pip for $(PYTHON), or one older than 22.3; on Debian: apt install python3-pip"; exit 3; fi; \
	$$pip install $(if $(V),,--quiet --quiet) --disable-pip-version-check -c constraints.txt -e '.$(1)' \
	  || { echo "error: the installation failed; the lines above say why, and the same command tries again"; exit 3; }
	@touch $@
endef

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,)

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,[test])
	@touch $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call install,[dev])
	@touch $(VENV)/.installed $(VENV)/.installed-test
