# Two commands: `make demo` trains, converts and compresses a network on real data, `make test` passes the tests.
# Needs Python >= 3.11 with venv; a C++ compiler builds the CPU kernels, and in `make test` the optional torch_scatter.

# `make test TORCH=latest` takes the newest torch and PyG of the index, into an environment of their own.

PYTHON  ?= python3
TORCH   ?= pinned
ifeq ($(TORCH),latest)
VENV    ?= .venv-latest
PINS    := --upgrade torch torch_geometric
else ifeq ($(TORCH),pinned)
VENV    ?= .venv
PINS    := -c constraints.txt
else
$(error TORCH is pinned, by constraints.txt, or latest; got $(TORCH))
endif
DATASET ?= digits
PYTEST_ARGS ?=

# test processes, each of one thread and up to 3 GB
JOBS    ?= $(shell nproc 2>/dev/null || echo 1)

# for the build of torch_scatter, which takes 4 to 5 minutes on an idle machine, once
MAX_JOBS ?= $(shell nproc 2>/dev/null || echo 1)
export MAX_JOBS

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check
KERNELS := setup.py $(wildcard edgenet/ops/native/*.cpp edgenet/ops/native/*.h edgenet/ops/kernels/*/*.cpp \
              edgenet/ops/kernels/*/*.h)
INPUTS  := pyproject.toml constraints.txt $(KERNELS)

.DEFAULT_GOAL := help
.PHONY: help demo test scale slow lint types docs stories sanitize crash soak fuzz clean
.DELETE_ON_ERROR:

help:   ## show this list
	@echo "usage: make TARGET [PYTHON=python3.12] [TORCH=latest] [DATASET=cora] [PYTEST_ARGS='-k spmm']"
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

demo: $(VENV)/.installed   ## install, then train an attention network, convert, compress and save it (DATASET=cora)
	$(BIN)/edgenet demo $(DATASET)

test: $(VENV)/.installed-test   ## install with torch_scatter, run the test suite, check style and types
	@cat $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)
	$(BIN)/ruff check .
	$(BIN)/mypy

scale: $(VENV)/.installed-scale   ## install TorchRec, for tables that lie on several processes

slow: $(VENV)/.installed-test   ## run the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(VENV)/.installed-test   ## check the style (ruff)
	$(BIN)/ruff check .

types: $(VENV)/.installed-test   ## check the types (mypy)
	$(BIN)/mypy

# A minute of processor time, the first time.
docs: $(VENV)/.installed-docs   ## build the site into build/docs; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

stories: $(VENV)/.installed-docs   ## run the tutorials again, which prints their numbers anew; minutes
	OMP_NUM_THREADS=1 $(BIN)/python docs/site/stories.py

# The kernels for this processor, built with AddressSanitizer and UndefinedBehaviorSanitizer (of g++) into a folder of
# their own. Compiling takes 4 minutes of processor time, the tests 1. The first finding ends the run. The Triton tests
# are left out, for they run no C++; no other test has to be: those that start Python hand the environment on.
# -fno-wrapv: Python's own flags define signed overflow, and so hide it. faulthandler would catch what ASan reports.
SANITIZE := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-wrapv -UNDEBUG \
            -O1 -g1 -fno-omit-frame-pointer
BUILT    := build/sanitize/edgenet/ops/native

sanitize: $(VENV)/.installed-test build/sanitize/.built   ## run the tests of the CPU kernels under ASan and UBSan
	@set -x; export EDGENET_NATIVE_DIR="$(CURDIR)/$(BUILT)" ASAN_OPTIONS=detect_leaks=0 \
	    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	    LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)"; \
	$(BIN)/python -c "from edgenet.ops import native; assert native.library(), 'the sanitized kernels do not load'" && \
	$(BIN)/python -m pytest -p no:faulthandler tests/ops --ignore-glob='*/test_triton*.py' $(PYTEST_ARGS)

# Both say what they did, and fail where something was lost. 50 kills take a minute of processor time, 10000 steps
# four ways several minutes.
STEPS ?= 10000

crash: N ?= 50
crash: $(VENV)/.installed-test   ## kill runs and savers at random moments, N times each (N=50)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/reliability/crash.py $(N)

soak: $(VENV)/.installed-test   ## take STEPS steps in one process, and say how memory grows (STEPS=10000)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/reliability/soak.py $(STEPS)

build/sanitize/.built: $(KERNELS) | $(VENV)/.installed-test
	rm -rf build/sanitize
	level=$$($(BIN)/python -c 'import torch; from edgenet.ops.native import OBJECTS; \
	        print(OBJECTS.get(torch.backends.cpu.get_cpu_capability(), ("_base",))[0])') && \
	    CXX=g++ EDGENET_LEVELS=$$level EDGENET_CXXFLAGS="$(SANITIZE)" $(BIN)/python setup.py build_ext \
	    --build-lib build/sanitize --build-temp build/sanitize/temp
	ls $(BUILT)/_*   # setup.py goes on without what does not compile
	@touch $@

# Each file is read in a process of its own, within 10 seconds and 10 times the file and 200 MB: 10,000 files take half
# an hour of processor time. The files that were faults are kept, and named.
SEED ?= 0

fuzz: N ?= 10000
fuzz: $(VENV)/.installed-test   ## damaged files for every reader (N=10000 SEED=0)
	OMP_NUM_THREADS=1 PYTHONPATH="$(CURDIR):$(CURDIR)/tests" $(BIN)/python -m reliability.fuzz $(N) $(SEED)

clean:   ## remove the environment and everything built; runs/ stays
	rm -rf $(VENV) .venv-latest build dist docs/api *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -f edgenet/ops/native/*.so
	find edgenet tests datasets examples docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

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

# The stamps are older than the inputs when those have changed: then pip runs again, and compiles the kernels again.
$(VENV)/.installed: $(INPUTS) | $(BIN)/python
	$(PIP) install $(PINS) -e .
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e ".[docs]"
	@touch $@

# TorchRec asks for packages of CUDA, which a CPU has no use for: so --no-deps, and what it imports by name. Versions go
# with torch's. It cannot be an extra for that.
SCALE := torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0 tensordict==0.15.3 pyre-extensions==0.0.32 pyvers==0.2.3 \
         typing-inspect==0.9.0 mypy-extensions==1.2.0 orjson==3.13.0 iopath==0.1.10 portalocker==4.4.2

$(VENV)/.installed-scale: $(VENV)/.installed Makefile
	$(PIP) install -c constraints.txt --no-deps $(SCALE)
	$(PIP) install -c constraints.txt typing_extensions tqdm torchmetrics
	$(BIN)/python -W ignore -c "from edgenet import scale; assert scale.available()"
	@touch $@

# Two steps, because torch_scatter's build imports torch: one pip command cannot do it. After the first the library is
# whole. A failing second costs the accelerator only: say so loudly, here and before every later test run. The kernels
# are compiled in the first step; an empty EDGENET_LEVELS leaves them alone in the second.
$(VENV)/.installed-test: $(INPUTS) | $(BIN)/python
	$(PIP) install $(PINS) -e ".[test]"
	@if (set -x; EDGENET_LEVELS= $(PIP) install $(PINS) --no-build-isolation -e ".[scatter,test,dev]"); then \
	    echo "torch_scatter is installed." > $@; \
	else \
	    if command -v $(firstword $(CXX)) >/dev/null; then reason="its installation failed, see above"; \
	    else reason="there is no C++ compiler ($(CXX)). On Debian: apt install g++ python3-dev"; fi; \
	    (set -x; EDGENET_LEVELS= $(PIP) install $(PINS) --no-build-isolation -e ".[test,lint]") || exit 1; \
	    { echo "************************************************************************"; \
	      echo "** torch_scatter is NOT installed: $$reason"; \
	      echo "** The tests run on the pure-torch fallback, and those of the scatter"; \
	      echo "** backend are left out. To try again: rm $@ && make test"; \
	      echo "************************************************************************"; } > $@; \
	fi
	@touch $(VENV)/.installed
