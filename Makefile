# make demo | test | check | lint | format | figures | bench-choose | mutation | false-alarms | compare | clean. Everything installs itself into .venv first.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
export PYTHONWARNINGS ?=

.PHONY: demo test check lint types format figures bench-choose mutation false-alarms compare clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,cuda]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

check: lint types test

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

figures: $(VENV)/installed
	$(BIN)/python -m opjury.benchmarks.harness

bench-choose: $(VENV)/installed
	$(BIN)/python -m opjury.benchmarks.choosing

mutation: $(VENV)/installed
	$(BIN)/python -m tests.mutation --json .opjury/mutation.jsonl

false-alarms: $(VENV)/installed
	$(BIN)/python -m tests.false_alarms --json .opjury/false_alarms.jsonl

compare: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[compare]"
	$(BIN)/python -m pytest -m compare tests/compare

clean:
	rm -rf $(VENV) build *.egg-info .opjury .mypy_cache .ruff_cache .pytest_cache
