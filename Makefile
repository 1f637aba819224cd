PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-gpu bench-gpu check fresh thorough faults mutation peers bench clean \
	book site-en site-zh look notebooks translations

# The virtual environment, made again whenever the project names other dependencies.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demos,test]"
	touch $@

demo: .venv/installed
	$(BIN)/python demos/train_digits.py

test: .venv/installed
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto
	HYPOTHESIS_PROFILE=device OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto \
		--device standin -k "not crash and not pytorch" $(ON_DEVICES)

# The tests whose bodies run on every device. `make test` runs them on the CPU, and few examples of
# them on a stand-in for CuPy that needs no GPU.
ON_DEVICES := tests/ops tests/kernels tests/nn tests/optim tests/train tests/test_functional.py \
	tests/test_graph.py tests/test_graph_observers.py tests/test_graph_values.py \
	tests/test_models.py tests/test_tensor.py tests/test_tensor_hooks.py

# The same tests on the GPU, with its kernels and with array code alone.
test-gpu: .venv/installed
	MINIDL_CUDA_KERNELS=1 $(BIN)/python -m pytest -q --device cuda $(ON_DEVICES)
	MINIDL_CUDA_KERNELS=0 $(BIN)/python -m pytest -q --device cuda $(ON_DEVICES)

# The benchmark against PyTorch on a GPU; writes docs/benchmarks-gpu.md.
bench-gpu: .venv/installed
	$(BIN)/python tests/benchmarks/gpu.py docs/benchmarks-gpu.md

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# 5,000 random examples of each property, with fresh seeds: hours. A part of them by name:
# make thorough ONLY="conv or pool or broadcast".
ONLY ?= test
thorough: .venv/installed
	HYPOTHESIS_PROFILE=thorough OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto \
		-m hypothesis -k "$(ONLY)" tests/ops tests/kernels tests/testing

# Every test that draws its examples, RUNS times in a row, with a hundred new ones each time.
RUNS ?= 20
fresh: .venv/installed
	for run in $$(seq $(RUNS)); do echo "run $$run of $(RUNS)"; \
		HYPOTHESIS_PROFILE=fresh OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto \
		-m hypothesis tests || exit 1; \
	done

# 200 kills, 100,000 damaged files, every small disk; about half an hour.
faults: .venv/installed
	FAULTS=full OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/faults

# One small fault after the other, to see whether a test fails: hours, and it can be stopped. A
# random sample of them takes less than half an hour: make mutation SAMPLE=200 SEED=1.
mutation: .venv/installed
	$(BIN)/python tools/mutation.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

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

# The book: every chapter is run once, then the site is built in English and in Chinese. Open it by
# `python -m http.server -d build/book/site`: search does not work from a file.
.venv/book: pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	touch $@

book: .venv/book
	rm -rf build/book/site build/book/microscope
	$(BIN)/python -m tools.book.execute --notebooks build/book/notebooks
	$(BIN)/python -m tools.book.demos
	$(BIN)/python -m tools.book.translations --check
	$(BIN)/python -m tools.book.microscope
	$(MAKE) -j 2 site-en site-zh

SPHINX := $(BIN)/sphinx-build -q -W -E --keep-going -b html
site-en: .venv/book
	$(SPHINX) docs build/book/site
site-zh: .venv/book
	$(SPHINX) -D language=zh_CN docs build/book/site/zh

# Opens every page of the built site in Chromium, which must be installed: errors in the console,
# requests to other places, formulas that are not rendered. PICTURES=FOLDER photographs the chapters.
look: .venv/book
	$(BIN)/python -m pip install --quiet --disable-pip-version-check playwright
	$(BIN)/python -m tools.book.look $(if $(PICTURES),--pictures $(PICTURES))

# Each chapter as a notebook that runs, with its output, in build/book/notebooks.
notebooks: .venv/book
	$(BIN)/python -m tools.book.execute --notebooks build/book/notebooks

# After a change of the English text: what is new or changed waits in docs/book/locale for its Chinese.
translations: .venv/book
	$(BIN)/python -m tools.book.translations

clean:
	rm -rf .venv .venv-bench build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
