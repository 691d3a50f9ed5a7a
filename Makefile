# `make demo` and `make test` do all their own set-up in .venv; they need Python 3.10 or later and make.
# Both may run at once: the set-up is locked.
PYTHON ?= python3
# Pinned for development, as all else is by hash in Testing/locks; the package itself asks for ranges. Any build of this
# version serves: each has hashes of its own, so it stands here.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)
# Percent of the engine's lines that the tests must run.
COVERAGE := 95

.PHONY: demo test lint benchmark licenses release clean environment test-environment

demo: environment
	$(BIN)/python -m LIPCARLib demo --output demo-output

test: test-environment lint
	COVERAGE_FILE=$$(mktemp) $(BIN)/python -m pytest --cov=LIPCARLib --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE)

lint: test-environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: environment
	$(BIN)/python Testing/benchmarks/speed.py --json speed.json

licenses: test-environment
	$(BIN)/python Testing/supply_chain.py licenses

# The package, and beside it the bill of materials (CycloneDX).
release: test-environment
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/python Testing/supply_chain.py sbom dist/lipcar.cdx.json

environment:
	$(PYTHON) Testing/environment.py $(VENV) "$(TORCH)"

test-environment:
	$(PYTHON) Testing/environment.py $(VENV) "$(TORCH)" --tests

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('$(VENV)', 'demo-output')]"
