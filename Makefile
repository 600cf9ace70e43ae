# Start with `make demo` and `make test`. `make help` lists all targets.
PYTHON ?= python3
BIN := .venv/bin
# Without compiling what is never imported: a third of the time, and an eighth of the size.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/pip install --quiet --no-compile
# One OpenMP thread, for speed and repeatability: several threads on busy cores are slower (docs/decisions/0002-fast-field.md).
# Bytecode is kept: the tests start hundreds of processes, and each would compile everything anew.
TEST_ENV := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
# The index that torch comes from; empty: PyPI. A machine without an NVIDIA driver needs no CUDA (docs/decisions/0031-environment.md).
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null || test -e /proc/driver/nvidia/version || echo $(CPU_INDEX))
TORCH := torch==2.13.0

help:           ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

env: .venv/.ready   ## create .venv with the commands `adnerf` and `python -m adnerf_core`; TORCH_INDEX=URL chooses the build of torch

.venv/.ready: pyproject.toml setup.py Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@if [ -z '$(TORCH_INDEX)' ]; then $(PIP) --no-deps $(TORCH); \
	elif $(PIP) --no-deps --index-url '$(TORCH_INDEX)' --retries 0 --timeout 10 $(TORCH) 2>/dev/null; then :; \
	else echo "$(TORCH_INDEX) has no $(TORCH) or cannot be reached: torch comes from pip's own index."; $(PIP) --no-deps $(TORCH); fi
	$(PIP) -e '.[worker,speech,demo]'
	@# The tests of torch's own C++ code, and headers for compiling against it: an eighth of the environment.
	@cd .venv/lib/python3.*/site-packages/torch && rm -rf test include bin/*est*
	@# Loads everything once: a check, which also compiles what is used.
	@$(BIN)/python -c 'import api.app, torch; from worker.jobs.core_functions import load_core as load; load(); \
	  print("torch", torch.__version__, "for", torch.version.cuda and f"CUDA {torch.version.cuda}" or "the CPU")'
	@touch $@

test-env: .venv/.tests  ## add what the tests need, except for a browser
.venv/.tests: .venv/.ready
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps nanio==0.1.7
	@touch $@

.venv/.browser: .venv/.tests  # a Chromium for the tests of the page, if the system has none
	$(BIN)/python -m tests.page.browser
	@touch $@

demo: env       ## create a subject from a video, then a talking video; VIDEO=me.mp4 AUDIO=say.wav PRESET=draft|standard
	$(BIN)/python -m demo $(if $(VIDEO),--video '$(VIDEO)') $(if $(AUDIO),--audio '$(AUDIO)') $(if $(PRESET),--preset $(PRESET))

test: .venv/.browser    ## run all tests
	$(TEST_ENV) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

chaos: test-env ## test the promises under more than 300 faults of every kind; about an hour
	$(TEST_ENV) $(BIN)/python -m benchmarks.chaos $(CHAOS)

check: test-env ## check style, the imports between the rooms, and known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m tests.audit

images-check: test-env  ## build the images and run them with Compose, where there is a container engine; VIDEO=me.mp4 AUDIO=say.wav: a video, too
	$(BIN)/python -m tests.images $(if $(VIDEO),'$(VIDEO)' '$(AUDIO)')

constraints: test-env   ## write the versions of .venv to constraints.txt, for the images; run it after the tests have passed
	$(BIN)/python -m tests.constraints

licences: test-env      ## write docs/licences.md from the packages of .venv
	$(BIN)/python -m tests.licences

dist: test-env  ## build the wheel and the source distribution in dist/
	$(BIN)/python -m build --outdir dist

clean:          ## remove the environment, the distributions and the demo's output
	rm -rf .venv build dist demo-output

.PHONY: help env test-env demo test chaos check images-check constraints licences dist clean
