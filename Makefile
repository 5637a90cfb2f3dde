# Everything a clone can do; `make` alone lists it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input

# DCMTK and Orthanc wait 40 ms per object without it.
export TCP_NODELAY := 1

.DEFAULT_GOAL := help
.PHONY: help demo stack test lint docs screenshot bench gpu soak clean debian

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.node  ## Segment a phantom, or SERIES=folder, through a running node; results lie in demo/
	@$(BIN)/hepar demo $(if $(SERIES),"$(SERIES)")

stack: $(VENV)/.node debian-stack  ## Archive, viewer and node together on this machine; MODEL=folder for another model
	@$(BIN)/python -m deploy.stack $(if $(MODEL),--model "$(MODEL)")

test: $(VENV)/.test debian lint  ## Install what the tests need, then lint, type-check and test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

screenshot: $(VENV)/.test debian  ## Leave a picture of the viewer in artefacts/ohif.png, where the README shows it
	$(BIN)/python -m pytest -q tests/system/test_stack.py -k scrolling

docs: $(VENV)/.node  ## Write docs/conformance.md from the code's own tables
	@$(BIN)/hepar conformance > docs/.conformance.md && mv docs/.conformance.md docs/conformance.md

bench: $(VENV)/.test debian  ## Measure the marks of the README and print them as a table
	$(BIN)/python -m tests.benchmarks.bench

gpu: $(VENV)/.test  ## On a machine with an NVIDIA GPU: every test and every figure that needs one
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python -m tests.benchmarks.bench gpu

soak: $(VENV)/.test debian  ## Kill the node at random moments, ROUNDS=20 times; nothing lost, nothing twice
	$(BIN)/python -m tests.benchmarks.soak --rounds $(or $(ROUNDS),20)

clean:  ## Remove the environment and everything that was made here
	rm -rf $(VENV) build dist demo bench stack artefacts .cache *.egg-info .pytest_cache .ruff_cache .mypy_cache

# The node alone: no torch, under 1 GB.
$(VENV)/.node: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the node into $(VENV) (about a minute, more on a slow line) ..."
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

# torch first and by its exact version: a range finds gigabytes of CUDA before the CPU build.
$(VENV)/.test: $(VENV)/.node
	@echo "Installing the trainer and the judges into $(VENV) ..."
	$(PIP) install --constraint constraints.txt torch==2.13.0
	$(PIP) install --constraint constraints.txt --editable '.[trainer,test,tensorrt-rtx]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Hepar needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 ..."; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory venv-package
	@$(PYTHON) -m venv $(VENV)

.PHONY: venv-package
venv-package:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null; \
	else \
	  echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt-get install python3-venv"; \
	  exit 1; \
	fi

# The real archive, sender and browser: only root can install them, and only the system tests and
# the stack need them. Each is a package and the file by which it is known.
ORTHANC := orthanc:Orthanc orthanc-dicomweb:libOrthancDicomWeb.so orthanc-python:libOrthancPython.so
STACK   := $(ORTHANC) nginx:nginx npm:npm
SYSTEM  := $(STACK) dcmtk:dcmdump plastimatch:plastimatch chromium:chromium
debian: PACKAGES = $(SYSTEM)
debian-stack: PACKAGES = $(STACK)
.PHONY: debian-stack
debian debian-stack:
	@missing=; for each in $(PACKAGES); do \
	  command -v "$${each#*:}" >/dev/null || [ -e "/usr/sbin/$${each#*:}" ] \
	    || [ -e "/usr/share/orthanc/plugins/$${each#*:}" ] || missing="$$missing $${each%%:*}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing$$missing ..."; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	    $$missing >/dev/null; \
	else \
	  echo "Missing:$$missing. What needs them is skipped, or says so."; \
	  echo "To have it: sudo apt-get install$$missing"; \
	fi
