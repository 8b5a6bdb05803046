# Everything runs from one virtual environment, made here from hash-pinned requirements. Needs Python 3.11+, make and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.PHONY: help demo page test check faults bench release lock clean

help: ## Say what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/'

$(VENV)/runtime: requirements/runtime.txt pyproject.toml
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "strongroom needs Python 3.11 or newer; try: make PYTHON=python3.12 demo" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/test: requirements/test.txt $(VENV)/runtime
	@echo "setting up the tests (once)"
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

demo: $(VENV)/runtime ## Walk through the main job on the embedded store
	@$(BIN)/python examples/demo.py
	@echo; echo "# To see secrets, versions and the audit trail in a browser, with throw-away data: make page"

$(VENV)/server: requirements/server.txt $(VENV)/runtime
	@echo "setting up the server (once)"
	@$(PIP) install --require-hashes -r requirements/server.txt
	@touch $@

page: $(VENV)/server ## Show the web page in a browser, with throw-away data
	@$(BIN)/strongroom server start --demo

test: $(VENV)/test ## Run all the tests
	@tests/system-packages
	@$(BIN)/python -m pytest -n auto

check: $(VENV)/test ## Lint, types, import contract, then all the tests (what CI runs)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

faults: $(VENV)/test ## Play random schedules of faults: SECONDS=600 for how long, SEED=real:17 to see one again
	@$(BIN)/python -m tests.faults.schedules --seconds $(or $(SECONDS),120) --seed '$(SEED)'

bench: $(VENV)/runtime ## Compare with other tools, side by side (installs them; slow)
	@bench/run

$(VENV)/release: requirements/release.txt
	@$(PYTHON) -m venv $@
	@$@/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/release.txt
	@touch $@

release: $(VENV)/release ## Build both distributions into dist, try them, write changelog, SBOM and checksums (DRAFT=1: change nothing here)
	@$(VENV)/release/bin/python release/build.py $(if $(DRAFT),--draft)

# Of the binaries only the files are wanted, not what their packages would need to be imported.
# The tests are resolved first: they need all the extras at once, and one version of everything has to suit them and the runtime.
lock: $(VENV)/test ## Renew the pinned requirements from pyproject.toml
	@cd $(CURDIR) && for set in test runtime server aws azure gcp mysql vault; do case $$set in \
	    test) groups="--all-extras --group build --group test" ;; \
	    runtime) groups="--group build -c requirements/test.txt" ;; \
	    server) groups="--extra server --extra postgresql -c requirements/test.txt" ;; \
	    *) groups="--extra $$set -c requirements/test.txt" ;; esac; \
	  $(COMPILE) pyproject.toml $$groups -o requirements/$$set.txt; done
	@cd $(CURDIR) && $(COMPILE) --group release --group build -o requirements/release.txt
	@cd $(CURDIR) && for set in tests/requirements/*.in; do \
	  case $$set in */binaries.in) alone=--no-deps ;; *) alone= ;; esac; $(COMPILE) $$alone $$set -o $${set%.in}.txt; done

clean: ## Remove what was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis bench/.environments dist
