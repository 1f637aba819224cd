PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check thorough mutation peers bench clean

# The virtual environment, made again whenever the project names other dependencies.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demos,test]"
	touch $@

demo: .venv/installed
	$(BIN)/python demos/train_digits.py

test: .venv/installed
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Thousands of random examples of each property, with fresh seeds.
thorough: .venv/installed
	HYPOTHESIS_PROFILE=thorough OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto \
		tests/ops tests/kernels tests/testing

# One small fault after the other, to see whether a test fails; hours, and it can be stopped.
mutation: .venv/installed
	$(BIN)/python tools/mutation.py

# The other engines that some tests and the benchmarks compare with (PyTorch without CUDA).
peers: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[peers]"

# Every other engine in an environment of its own (2 GB), then the measurements: a quarter of an
# hour on a machine with nothing else to do. One case alone: make bench BENCH="--only article-32".
.venv-bench/installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	touch $@

bench: .venv-bench/installed
	.venv-bench/bin/python tests/benchmarks $(BENCH)

clean:
	rm -rf .venv .venv-bench build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
