# Everything sets itself up: a virtual environment, Debian packages, Go builds (cached).
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
SYSTEM_PYTHON_OK = $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): tests/requirements.txt pyproject.toml
	@$(SYSTEM_PYTHON_OK) || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Make the virtual environment

.PHONY: test
test: lint lab-build ## Run all tests, on real API servers and real kubelets (needs root)
	$(BIN)/python -m pytest --durations=20

.PHONY: test-unit
test-unit: $(STAMP) ## Run the pure tests only (seconds, no root)
	$(BIN)/python -m pytest tests/unit

.PHONY: test-deep
test-deep: $(STAMP) ## Run the laws of the engine over 10,000 generated templates each
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest tests/unit/core/test_inject_laws.py tests/unit/core/test_admission_laws.py tests/unit/core/test_podtime_laws.py

.PHONY: soak
soak: $(STAMP) lab-build ## Fight with GitOps tools for five minutes, start 200 Pods in mode Universal (needs root)
	SIDECARPOLICY_SOAK_SECONDS=300 $(BIN)/python -m pytest tests/integration/test_gitops.py
	SIDECARPOLICY_UNIVERSAL_STARTS=200 $(BIN)/python -m pytest tests/e2e/test_mode_universal.py

.PHONY: lint
lint: $(STAMP) ## Check format, style, types and layers
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > .import-linter.log || { cat .import-linter.log; exit 1; }

.PHONY: format
format: $(STAMP) ## Format the code
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

.PHONY: crds
crds: $(STAMP) ## Generate crds/ from the models
	@for crd in sidecarpolicies clustersidecarpolicies; do \
	  $(BIN)/python -m sidecarpolicy.api.schema $$crd.sidecarpolicy.dev > crds/.new \
	    && mv crds/.new crds/$$crd.sidecarpolicy.dev.yaml || exit 1; \
	done

.PHONY: lock
lock: $(STAMP) ## Lock the dependencies anew, with hashes
	$(BIN)/uv pip compile --quiet pyproject.toml --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --upgrade -o operator/requirements.txt
	$(BIN)/uv pip compile --quiet pyproject.toml --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --upgrade --extra dev -o tests/requirements.txt

.PHONY: bench
bench: $(STAMP) ## Compare the webhook's cost with that of others (two minutes, any Linux)
	$(BIN)/python -m bench

.PHONY: demo
demo: $(STAMP) ## See the main job on a real mixed cluster on this machine (needs root)
	$(BIN)/python -m lab.demo

.PHONY: demo-shell
demo-shell: $(STAMP) ## Open a shell with kubectl in the demo's cluster
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m lab --name demo exec -- bash

.PHONY: demo-down
demo-down: $(STAMP) ## End the demo's cluster and remove everything of it
	$(BIN)/python -m lab --name demo down

.PHONY: lab-build
lab-build: $(STAMP) ## Build everything of the lab ahead of time (about 20 minutes, cached)
	$(BIN)/python -m lab build --all

.PHONY: clean
clean: ## Remove what was generated here; the lab's cache stays
	rm -rf $(VENV) .import-linter.log .mypy_cache .ruff_cache .pytest_cache .hypothesis build
