# Start with `make demo` and `make test`. `make help` lists all targets.
PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/pip install --quiet
# One OpenMP thread, for speed and repeatability: several threads on busy cores are slower (docs/decisions/0002-fast-field.md).
TEST_ENV := OMP_NUM_THREADS=1

help:           ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

env: .venv/.ready   ## create .venv with the commands `adnerf` and `python -m adnerf_core`

.venv/.ready: pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
	  { echo "Python 3.10, 3.11 or 3.12 is needed (MediaPipe has no later build): make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0
	$(PIP) -e '.[worker,speech,demo,dev]'
	$(PIP) --no-deps mediapipe==0.10.21 moonshine-voice==0.1.0 "nanio==0.1.7; python_version >= '3.11'"
	touch $@

.venv/.browser: .venv/.ready  # a Chromium for the tests of the page, if the system has none
	$(BIN)/python -m tests.page.browser
	touch $@

demo: env       ## create a subject from a video, then a talking video; VIDEO=me.mp4 AUDIO=say.wav PRESET=draft|standard
	$(BIN)/python -m demo $(if $(VIDEO),--video '$(VIDEO)') $(if $(AUDIO),--audio '$(AUDIO)') $(if $(PRESET),--preset $(PRESET))

test: env .venv/.browser    ## run all tests
	$(TEST_ENV) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

chaos: env      ## test the promises under more than 300 faults of every kind; about an hour
	$(TEST_ENV) $(BIN)/python -m benchmarks.chaos $(CHAOS)

check: env      ## check style, the imports between the rooms, and known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m tests.audit

constraints: env    ## write the versions of .venv to constraints.txt, for the images; run it after the tests have passed
	{ echo '# The versions that the images install: those that the tests ran with. Written by `make constraints`.'; \
	  $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt

licences: env       ## write docs/licences.md from the packages of .venv
	$(BIN)/python -m tests.licences

clean:          ## remove the environment and the demo's output
	rm -rf .venv demo-output

.PHONY: help env demo test chaos check constraints licences clean
