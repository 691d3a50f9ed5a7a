# `make demo` and `make test` do all their own set-up in .venv; they need Python 3.10 or later and make.
PYTHON ?= python3
# Pinned for development; the package itself asks for a range. On a machine with an NVIDIA GPU any build of it serves.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)

.PHONY: demo test lint benchmark clean

demo: $(VENV)/demo.stamp
	$(BIN)/lipcar demo --output demo-output

test: $(VENV)/test.stamp lint
	$(BIN)/python -m pytest

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

benchmark: $(VENV)/demo.stamp
	$(BIN)/python Testing/benchmarks/speed.py

$(VENV)/demo.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all]"
	$(BIN)/python -c "open('$@', 'w')"

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all,tests]"
	$(BIN)/python -c "open('$@', 'w')"

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('$(VENV)', 'demo-output')]"
