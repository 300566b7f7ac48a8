# make gpu FOLDER=… | gpu-wheels: the record of a machine with a GPU, without a network and without installing anything.
# make demo | test | test-slow | test-all | check | lint | format | figures | bench-choose | bench-report | bench-scale | bench-track | mutation | false-alarms | compare | clean. Everything installs itself into .venv first.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
# one more than cores: many tests wait for processes that they started
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
GPU_PYTHONS ?= 3.11 3.12 3.13
CARRIED = click cloudpickle markdown-it-py mdurl msgspec Pebble platformdirs psutil Pygments rich threadpoolctl
export PYTHONWARNINGS ?=
# On some virtual machines AMX loses its tiles: torch's bfloat16 convolutions crash or never return there. Tests use what all processors have.
export ONEDNN_MAX_CPU_ISA ?= AVX512_CORE_BF16

.PHONY: demo test test-slow test-all check lint types format figures bench-choose bench-report bench-scale bench-track mutation false-alarms compare clean gpu gpu-wheels

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[track,report,cluster,team,cuda,test,browser]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py

PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10 --durations-min 20

# the harness but for its slowest tests, and a sample of the library's audits
test: $(VENV)/installed
	$(PYTEST) -m "not slow and not compare"

# all other tests; with --durations pytest names the slowest
test-slow: $(VENV)/installed
	$(PYTEST) -m "slow and not compare"

test-all: test test-slow

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
	$(BIN)/python -m benchmarks.figures.harness

bench-choose: $(VENV)/installed
	$(BIN)/python -m benchmarks.figures.choosing
	$(BIN)/python -m benchmarks.figures.usual

bench-track: $(VENV)/installed
	$(BIN)/python -m benchmarks.figures.tracking

bench-report: $(VENV)/installed
	$(BIN)/python -m benchmarks.figures.reporting

bench-scale: $(VENV)/installed
	$(BIN)/python -m benchmarks.figures.scaling

mutation: $(VENV)/installed
	$(BIN)/python -m tests.mutation --json .opjury/mutation.jsonl

false-alarms: $(VENV)/installed
	$(BIN)/python -m tests.false_alarms --json .opjury/false_alarms.jsonl

compare: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[compare]"
	$(BIN)/python -m pytest -m compare tests/compare

gpu:
	PYTHONPATH=src $(PYTHON) -m benchmarks.figures.gpu $(FOLDER)

gpu-wheels: $(VENV)/installed
	for version in $(GPU_PYTHONS); do $(BIN)/python -m pip download --quiet --disable-pip-version-check -c constraints.txt --no-deps \
		--only-binary=:all: --python-version $$version --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
		--dest .opjury/wheels $(CARRIED) || exit 1; done

clean:
	rm -rf $(VENV) build *.egg-info .opjury .mypy_cache .ruff_cache .pytest_cache
