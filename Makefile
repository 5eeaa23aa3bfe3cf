# Two commands for a fresh machine with Python 3.10 or later: `make demo` and `make test`.
# Both make .venv first; the tests need more packages than the demo. To choose another torch build,
# give pip's options for it, such as
#   make demo TORCH_ARGS='--index-url <the address that pytorch.org/get-started names>'

PYTHON ?= python3
TORCH_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Python compiles a module when it is first imported: most of those of torch never are.
INSTALL := $(PIP) install --no-compile --constraint constraints.txt
RUNS := $(VENV)/ready-to-run
READY := $(VENV)/ready
# Without compiled modules each process would spend seconds on compiling those of torch again.
unexport PYTHONDONTWRITEBYTECODE
# Progress bars are for people: a terminal shows them, a log does not.
SHOWN := $(if $(MAKE_TERMERR),,--quiet)

# a folder with a real clip for the demo, where there is one
REAL ?= ../shared/data

.PHONY: demo test fuzz gpu-check lint format clean

demo: $(RUNS)
	$(BIN)/surgsam2 demo --output demo-output $(addprefix --real ,$(wildcard $(REAL)))

test: $(READY)
	$(BIN)/python -m pytest -n 2

# half a minute for each door; atheris has no packages for every Python
fuzz: $(READY)
	$(INSTALL) --quiet --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds 30 --found fuzz-found

# at most six minutes on a machine with an NVIDIA GPU; needs a CUDA build of torch
gpu-check: $(RUNS)
	$(BIN)/python -m surgsam2.benchmark.gpu_check --output gpu-check

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-output fuzz-found gpu-check build dist *.egg-info

# what the command and the page need; torch comes first, because sam2 is built with it; sam2 comes
# last and without its dependencies, because it names torchvision, which nothing here uses
$(RUNS): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "surgsam2 needs Python 3.10 or later; try: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip setuptools wheel
	$(INSTALL) $(SHOWN) $(TORCH_ARGS) torch numpy
	$(INSTALL) $(SHOWN) --editable '.[annotate]'
	SAM2_BUILD_CUDA=0 $(INSTALL) --quiet --no-build-isolation --no-deps sam2
	@touch $@

# what tests and checks need as well: Qt, CMake, Slicer's libraries, MONAI, linters
$(READY): $(RUNS)
	$(INSTALL) $(SHOWN) --editable '.[dev]'
	@touch $@
