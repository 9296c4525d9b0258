# From nothing to a trained classifier: `make train`. Needs python3 (3.11 to 3.13), make and a
# package index. Paths are relative throughout, so the folder's own name may hold spaces.

PYTHON ?=# what .venv is made with; empty: the first that fits of those tried below
ARGS =# handed to the command, as in: make train ARGS="--data my/photos"

BIN = .venv/bin
# `unfinished` becomes `installed` in one step at the end, so whatever was cut short is redone.
STAMP = .venv/installed
UNFINISHED = .venv/unfinished
# A file's tests stay in one process, so that what they share is made once, and tests/conftest.py
# says which files come first. A process that tests TensorFlow takes 1 GB, hence at most four.
PARALLEL = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input -qq install

# A user's own settings must not leak into the environment that the lock file describes.
unexport PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER = 0

# A moved or copied .venv still points at the place where it was made: then make it again.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help train test faults audit tools bench peers lint lab notebooks lock clean

help: ## show this list
	@echo 'make TARGET, where TARGET is one of:'
	@sed -n 's/^\([a-z]*\):[^#]*## /  \1|/p' Makefile | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'
	@echo 'PYTHON=python3.12 names the Python that .venv is made with; ARGS="..." goes to the command.'

train: $(STAMP) ## photos in, models/flowers.keras and a report out; ARGS="--help" lists the options
	@$(BIN)/flowers train $(ARGS)

test: $(STAMP) ## the whole suite, then the notebooks; with ARGS="tests/test_x.py -x" only those tests
	@$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),$(PARALLEL))
	$(if $(ARGS),,$(if $(wildcard notebooks/*.ipynb),@$(BIN)/python -m pytest --nbval notebooks))

faults: $(STAMP) ## inject faults in full numbers, hours; ARGS="--list" names them, ARGS="kills" runs one
	@PYTHONPATH=tests $(BIN)/python -m faults $(ARGS)

audit: $(STAMP) ## look for packages with known holes; ends with 3 where the index does not tell
	@PYTHONPATH=tests $(BIN)/python -m faults.supply

tools: $(STAMP) ## atheris, schemathesis, pip-audit for `make faults` and `make audit` (230 MB)
	@$(PIP) --require-hashes --upgrade --target .venv/tools -r tests/faults/tools.lock

bench: $(STAMP) ## measure beside what else there is, hours; ARGS="--quick" in minutes, ARGS="--list" names
	@$(BIN)/python benchmarks/bench.py $(ARGS)

peers: $(STAMP) ## PyTorch for `make bench`, in an environment of its own (up to 5 GB)
	$(BIN)/python -m venv benchmarks/work/peers
	benchmarks/work/peers/bin/python -m pip -q install -r benchmarks/peers.lock

lint: $(STAMP) ## look for mistakes and for unusual formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

lab: $(STAMP) ## open the notebooks in Jupyter
	@$(BIN)/jupyter-lab notebooks $(ARGS)

notebooks: $(STAMP) ## run the notebooks anew, as under test, and keep what they print; see notebooks/README.md
	@$(BIN)/python notebooks/execute.py $(ARGS)

lock: ## for maintainers: write the lock files anew from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo 'Expected uv, which writes the lock file.' \
	  'Received: no such command. Install it, for example with `pipx install uv`.' >&2; exit 2; }
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes \
	  --python-version 3.11 -o requirements.lock $(ARGS)
	uv pip compile --group tools -c requirements.lock --universal --generate-hashes \
	  --python-version 3.11 -o tests/faults/tools.lock $(ARGS)

clean: ## remove .venv and what the tools left behind; photos and models stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Sets $python to the first of 3.11 to 3.13 that can make an environment, or says what is missing.
define FIND_PYTHON
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; \
version='import sys; print("%d.%d" % sys.version_info[:2])'; \
if [ -n '$(PYTHON)' ]; then set -- '$(PYTHON)'; \
else set -- python3 python3.13 python3.12 python3.11; fi; \
for python in "$$@"; do "$$python" -c "$$fits" >/dev/null 2>&1 && break; python=; done; \
if [ -z "$$python" ]; then \
  echo "Expected Python 3.11, 3.12 or 3.13, which TensorFlow has packages for." \
    "Received: $$1 is $$("$$1" -c "$$version" 2>/dev/null || echo missing)." \
    "Install one of them, or name it: make train PYTHON=python3.12" >&2; exit 2; fi; \
if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
  echo "Expected Python's venv module, which makes .venv. Received: $$python comes without it." \
    "On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 2; fi
endef

$(STAMP): requirements.lock pyproject.toml
	@$(FIND_PYTHON); \
	stale=; \
	if [ -e $(UNFINISHED) ]; then stale='the last installation was not finished'; \
	elif [ -e $(STAMP) ] && [ "$$(cat $(STAMP))" != "$$(pwd -P)" ]; then \
	  stale='.venv was made in another folder'; \
	elif [ -e .venv ] && ! $(BIN)/python -c "$$fits" >/dev/null 2>&1; then \
	  stale='the Python of .venv is gone or of another version'; fi; \
	mkdir -p .venv && pwd -P > $(UNFINISHED) || exit 3; \
	if [ -n "$$stale" ]; then echo "Making .venv again: $$stale"; \
	  find .venv -mindepth 1 -maxdepth 1 ! -name unfinished -exec rm -rf {} + ; fi; \
	if [ ! -x $(BIN)/python ]; then echo "Making .venv with $$("$$python" --version)"; \
	  "$$python" -m venv .venv || exit 3; fi; \
	echo 'Installing the packages of requirements.lock (one to five minutes, 3 GB of disk)'; \
	$(PIP) --require-hashes -r requirements.lock && \
	$(PIP) --no-deps --no-build-isolation -e . || { \
	  echo 'Expected every package of requirements.lock from the package index.' \
	    'Received: the message above. Check the network and the disk,' \
	    'then run the same command again.' >&2; exit 3; }; \
	mv -f $(UNFINISHED) $(STAMP)
