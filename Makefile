# make demo: set up and run the demonstration.  make test: set up and run what CI runs.
# make docs: set up and build the documentation into build/docs; it runs the notebooks and draws
# the pictures; warnings are errors.
# make mutants: which small wrong changes to the code no test notices (CONTRIBUTING.md).
VENV := .venv
BIN := $(VENV)/bin
LAVA := $(VENV)/lava
# Declares numpy 1, runs with numpy 2 (neuro.base.extras); declares Python 3.10 alone, a peer.
DEVKIT := nuscenes-devkit==1.2.0
SLAYER := lava-dl==0.6.0
# $(call find,A,B): the first Python 3.A to 3.B that can make virtual environments.
find = for p in python3 python3.1{1,2,3,4,0} python "$$HOME"/.pyenv/versions/3.1*/bin/python; do \
	  "$$p" -c 'import sys, venv, ensurepip; sys.exit(not (3, $(1)) <= sys.version_info[:2] <= (3, $(2)))' \
	  2>/dev/null && echo "$$p" && break; done
SHELL := /bin/bash

# Run a part of a check and say how long it took.
part = @echo "== $(1)"; s=$$(date +%s); $(2) && echo "== $(1): $$(($$(date +%s) - s)) s"
# A test file runs in one process, so that what its tests share is made once.
SPREAD := -n auto --dist loadfile --no-loadscope-reorder
# Tests share the cores by processes, so that torch needs one thread in each.
PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -q

# `make nightly` runs all; the others leave out oracles that take minutes to import or compile.
SELECT := $(if $(NEURO_NIGHTLY),,-m "not nightly")

# What the newest Python is tried on: each executor, the files, the command line.
SAMPLE := tests/neuro/io tests/neuro/spikes tests/lava_export/test_{run,integers,reference}.py tests/neuro/events/grid/test_kernels.py
IS_NEW := 'import sys; sys.exit(sys.version_info < (3, 13))'

.PHONY: demo test quick nightly lint types tests newest docs mutants setup clean

demo: $(VENV)/.run
	$(BIN)/neuro demo

# Three checks beside each other: on two cores the tests leave waits that mypy fills.
test: $(VENV)/.test
	@$(MAKE) --no-print-directory -j 3 lint types tests
	@$(MAKE) --no-print-directory newest

# A sample of the tests on Python 3.13 or 3.14, if there is one and the tests ran on an older one.
newest: | $(LAVA)/.made
	@python=$$($(call find,13,14)); if [ -z "$$python" ] || $(BIN)/python -c $(IS_NEW); then \
	  echo "== no second Python, 3.13 or 3.14, for a sample of the tests"; else \
	  "$$python" -m venv $(VENV)/newest && $(VENV)/newest/bin/pip install -q -e '.[eeg,language]' \
	  pytest pytest-xdist hypothesis beartype && echo "== on $$($(VENV)/newest/bin/python --version)" && \
	  NEURO_LAVA_PYTHON=$(LAVA)/bin/python OMP_NUM_THREADS=1 $(VENV)/newest/bin/python -m pytest -q \
	  $(SPREAD) -m "not slow and not nightly" $(SAMPLE); fi

lint:
	$(call part,lint,$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports)

types:
	$(call part,types,$(BIN)/mypy)

tests:
	$(call part,tests and notebooks,$(PYTEST) -rs $(SPREAD) $(SELECT) --durations=20)

# The fast part, while developing: each test takes less than a second, each verb has one. Types
# are checked by `make test` alone, which takes a third of its time.
quick: $(VENV)/.test
	$(call part,lint,$(BIN)/ruff check . && $(BIN)/ruff format --check .)
	$(call part,fast tests,JAXTYPING_DISABLE=1 $(PYTEST) $(SPREAD) -m "not slow and not nightly")

# All oracles whole; laws are drawn 200 times, not 25.
nightly: export NEURO_NIGHTLY := 1
nightly: test

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -j 2 -b html docs build/docs
	@echo "open build/docs/index.html"

# Of files and folders (PATHS) or lines changed since a commit (SINCE).
N := 60
SEED := 1
JOBS := 1
mutants: $(VENV)/.test
	nice $(BIN)/python tests/sample_mutants.py -n $(N) --seed $(SEED) --jobs $(JOBS) \
	  $(if $(PATHS),--paths $(PATHS)) $(if $(SINCE),--since $(SINCE))

setup: $(VENV)/.test

# A stamp, and not $(BIN)/python: a venv that was cut short has that already.
$(VENV)/.made:
	@python=$$($(call find,11,14)); if [ -z "$$python" ]; then \
	  echo "neuro needs Python 3.11 to 3.14 with venv, and none was found on PATH."; \
	  echo "Install one (Debian, Ubuntu: apt-get install python3-venv; macOS: brew install python@3.12;"; \
	  echo "anywhere: pyenv install 3.12), then run make again."; exit 1; fi; \
	echo "using $$python ($$($$python --version))"; "$$python" -m venv --clear $(VENV)
	@touch $@

# Lava's own environment, which the runner of lava_export finds: it needs Python 3.10 to 3.12.
$(LAVA)/.made: lava_export/lava.txt | $(VENV)/.made
	@python=$$($(call find,10,12)); mkdir -p $(LAVA); if [ -z "$$python" ]; then \
	  echo "no Python 3.10 to 3.12 was found: neuro runs without Lava, and says so where it is missing"; \
	else "$$python" -m venv --clear $(LAVA) && $(LAVA)/bin/pip install -q -r lava_export/lava.txt && \
	  $(LAVA)/bin/pip install -q --no-deps --ignore-requires-python lava-nc==0.10.0; fi
	@touch $@

$(VENV)/.run: pyproject.toml $(LAVA)/.made | $(VENV)/.made
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.test: pyproject.toml $(LAVA)/.made | $(VENV)/.made
	$(BIN)/python -m pip install -q -e '.[driving,eeg,language,peers,cluster,interop,connectome,events,dev]'
	$(BIN)/python -m pip install -q --no-deps --ignore-requires-python $(DEVKIT) $(SLAYER)
	@touch $@ $(VENV)/.run

$(VENV)/.docs: pyproject.toml $(LAVA)/.made | $(VENV)/.made
	$(BIN)/python -m pip install -q -e '.[docs,driving,language,interop,peers]'
	$(BIN)/python -m pip install -q --no-deps $(DEVKIT)
	@touch $@

clean:
	rm -rf $(VENV) build/docs docs/api docs/generated
