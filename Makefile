# Two commands: `make demo` shows EdgeNets training on real data, `make test` passes the tests.
# Needs Python >= 3.11 with venv; a C++ compiler makes `make test` also build the optional torch_scatter.

PYTHON  ?= python3
VENV    ?= .venv
DATASET ?= digits
PYTEST_ARGS ?=

# for the build of torch_scatter, which takes 4 to 5 minutes on an idle machine, once
MAX_JOBS ?= $(shell nproc 2>/dev/null || echo 1)
export MAX_JOBS

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check
INPUTS  := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint types clean
.DELETE_ON_ERROR:

help:   ## show this list
	@echo "usage: make TARGET [PYTHON=python3.12] [DATASET=cora] [PYTEST_ARGS='-k spmm']"
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

demo: $(VENV)/.installed   ## install, then train EdgeNets on embedded real data (DATASET=cora for Cora)
	$(BIN)/edgenet demo $(DATASET)

test: $(VENV)/.installed-test   ## install with torch_scatter, run the test suite, check the style
	@cat $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	$(BIN)/ruff check .

slow: $(VENV)/.installed-test   ## run the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(VENV)/.installed-test   ## check the style (ruff)
	$(BIN)/ruff check .

types: $(VENV)/.installed-test   ## check the types (mypy)
	$(BIN)/mypy

clean:   ## remove the environment and everything built; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find edgenet tests datasets examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A half-made environment (Debian without python3-venv leaves one) would be taken for a good one: so look first.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "No $(PYTHON) here. On Debian: apt install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "edgenet needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try make PYTHON=python3.11 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments. On Debian: apt install python3-venv" >&2; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are older than pyproject.toml or constraints.txt when those have changed: then pip runs again.
$(VENV)/.installed: $(INPUTS) | $(BIN)/python
	$(PIP) install -c constraints.txt -e .
	@touch $@

# Two steps, because torch_scatter's build imports torch: one pip command cannot do it. After the first the library is
# whole. A failing second costs the accelerator only: say so loudly, here and before every later test run.
$(VENV)/.installed-test: $(INPUTS) | $(BIN)/python
	$(PIP) install -c constraints.txt -e ".[test]"
	@if (set -x; $(PIP) install -c constraints.txt --no-build-isolation -e ".[scatter,test,dev]"); then \
	    echo "torch_scatter is installed." > $@; \
	else \
	    if command -v $(firstword $(CXX)) >/dev/null; then reason="its installation failed, see above"; \
	    else reason="there is no C++ compiler ($(CXX)). On Debian: apt install g++ python3-dev"; fi; \
	    (set -x; $(PIP) install -c constraints.txt --no-build-isolation -e ".[test,lint]") || exit 1; \
	    { echo "************************************************************************"; \
	      echo "** torch_scatter is NOT installed: $$reason"; \
	      echo "** The tests run on the pure-torch fallback, and those of the scatter"; \
	      echo "** backend are left out. To try again: rm $@ && make test"; \
	      echo "************************************************************************"; } > $@; \
	fi
	@touch $(VENV)/.installed
