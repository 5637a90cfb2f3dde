# Everything a clone can do; `make` alone lists it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input

# DCMTK and Orthanc wait 40 ms per object without it.
export TCP_NODELAY := 1

.DEFAULT_GOAL := help
.PHONY: help demo stack cluster test suite versions mutate lint docs validation sbom lock lock-images screenshot bench gpu soak clean debian

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.node  ## Segment a phantom, or SERIES=folder, with a running node; the results are left in demo/
	@$(BIN)/hepar demo $(if $(SERIES),"$(SERIES)")

stack: $(VENV)/.node debian-stack  ## Run archive, viewer and node together on this machine; MODEL=folder for another model
	@$(BIN)/python -m deploy.stack $(if $(MODEL),--model "$(MODEL)")

cluster: $(VENV)/.node debian-cluster  ## Run two gateways behind a proxy, three workers, page, archive and viewer here; MODEL=folder
	@$(BIN)/python -m deploy.cluster $(if $(MODEL),--model "$(MODEL)")

# The tests run in JOBS processes (0: in one, where a debugger works); a file's tests stay together, because
# they share servers. The slow files come first (`tests/conftest.py`); xdist itself would begin with the files
# that have most tests. RERUNS=1 runs a test that failed once more, and lists it even if it passes then.
JOBS   ?= 3
RERUNS ?= 0

test: $(VENV)/.test debian lint suite  ## Install what the tests need, then lint, type-check and test

suite: $(VENV)/.test debian
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --reruns $(RERUNS)

versions: $(BIN)/python  ## Run the demo and a short form of the tests on every other Python here that Hepar supports
	@.ci/each-python

mutate: $(VENV)/.test  ## Break chosen modules on purpose; list the changes that no test noticed
	$(BIN)/python -m mutmut run
	@$(BIN)/python -m tests.mutation

lint: $(VENV)/.test  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

sbom: $(VENV)/.node  ## Write a CycloneDX bill of materials of what is installed to dist/sbom.json
	$(PIP) install --constraint constraints.txt cyclonedx-bom
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-file dist/sbom.json $(BIN)/python

# The comment at the top of the file is ours, and stays.
LOCK := deploy/compose/requirements.txt

lock: $(BIN)/python  ## Write the hashes of what the container installs to deploy/compose/requirements.txt
	$(PIP) install --constraint constraints.txt uv
	@$(BIN)/uv pip compile --quiet pyproject.toml --constraint constraints.txt --python-platform linux --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --output-file $(LOCK).new >/dev/null
	@(grep '^#' $(LOCK); cat $(LOCK).new) > $(LOCK).part && mv $(LOCK).part $(LOCK) && rm $(LOCK).new

lock-images: $(VENV)/.node  ## Pin the containers' base images to the digests that their tags have today
	@$(BIN)/python -m deploy.images

screenshot: $(VENV)/.test debian  ## Save a picture of the viewer as artefacts/ohif.png
	$(BIN)/python -m pytest -q tests/system/test_stack.py -k scrolling

docs: $(VENV)/.node  ## Write docs/conformance.md from the tables in the code
	@$(BIN)/hepar conformance > docs/.conformance.md && mv docs/.conformance.md docs/conformance.md

# Where the labelled data lie that docs/validation.md is about; see docs/datasets.md.
DATA   ?= ../shared/data
JUDGE  := $(BIN)/hepar evaluate --model base --model fast
JUDGED := runs/validation

validation: $(VENV)/.test  ## Judge the shipped models on labelled data and write docs/validation.md; DATA=folder
	@mkdir -p $(JUDGED)
	@$(JUDGE) --data $(DATA)/train --json $(JUDGED)/held-out.json
	@$(JUDGE) --data $(DATA)/external/curvas_slices_512.npz --all --json $(JUDGED)/curvas.json
	@$(JUDGE) --data $(DATA)/external/msd08_hepaticvessel_slices_512.npz --all --json $(JUDGED)/msd08.json
	@$(JUDGE) --series $(DATA)/ct/chaos3/dicom --truth $(DATA)/ct/chaos3/liver.nii.gz --healthy \
	  --json $(JUDGED)/chaos3.json
	@$(BIN)/python -m trainer.evaluation.report.validation_page --notes docs/validation.toml \
	  $(JUDGED)/held-out.json $(JUDGED)/curvas.json $(JUDGED)/msd08.json $(JUDGED)/chaos3.json \
	  > docs/validation.md

bench: $(VENV)/.test debian  ## Measure the marks of docs/figures.md and print them as a table
	$(BIN)/python -m tests.benchmarks.bench

# The tests with the marker `gpu` that run without the DICOM packages and without TensorRT.
GPU_TESTS := tests/engine/devices/test_on_a_gpu.py tests/engine/devices/test_torch_gpu.py \
  tests/engine/devices/tensorrt/test_cuda.py tests/trainer/batches/test_distributions.py \
  tests/trainer/synthetic/test_batch_planting.py

# Where the figures go, and options of tests/benchmarks/gpu_bare.py, such as "--slices 20 --size 64".
GPU_FOLDER  ?= bench/gpu
GPU_OPTIONS ?=

ifdef BARE
gpu:  ## On a machine with a GPU: all its tests and figures; BARE=1 PYTHON=python3 with what is installed, offline
	failed=0; $(PYTHON) -m tests.benchmarks.gpu_bare $(GPU_FOLDER) $(GPU_OPTIONS) || failed=1; \
	  $(PYTHON) -m pytest -p no:cacheprovider -W default -m gpu $(GPU_TESTS) || failed=1; exit $$failed
else
gpu: $(VENV)/.test
	$(BIN)/python -m pytest -W default -m gpu
	$(BIN)/python -m tests.benchmarks.bench gpu
endif

# What a damaged or hostile file, connection or upload may do. Of all that `soak` runs with HEPAR_… a
# short form is among the tests.
MUTANTS := tests/dicom_node/pipeline/test_mutated_instances.py tests/dicom_node/node/test_mutated_messages.py

soak: $(VENV)/.test debian  ## Kill the node, ROUNDS=20, cut its power, send 10,000 damaged files from SEED=1 to 10; hours
	$(BIN)/python -m tests.benchmarks.soak --rounds $(or $(ROUNDS),20)
	$(BIN)/python -m tests.benchmarks.faults node --faults 500
	$(BIN)/python -m tests.benchmarks.faults cluster --faults 200
	HEPAR_SERIES=2000 $(BIN)/python -m pytest -q --timeout 0 tests/dicom_node/pipeline/test_any_series.py
	HEPAR_MANY=1000 $(BIN)/python -m pytest -q --timeout 0 tests/dicom_node/jobs/upkeep/test_many_jobs.py
	HEPAR_CUTS=200 $(BIN)/python -m pytest -q --timeout 0 tests/dicom_node/node/test_power_cut.py
	$(PIP) install --constraint constraints.txt --editable '.[fuzz]'
	for target in reader upload association; do \
	  $(BIN)/python -m tests.benchmarks.fuzz $$target --seconds $(or $(FUZZ_S),600) || exit 1; done
	for seed in $$(seq $(or $(SEED),1) 10); do HEPAR_MUTANTS=1000 $(BIN)/python -m pytest -q --timeout 0 \
	  --hypothesis-seed $$seed --hypothesis-show-statistics $(MUTANTS) || exit 1; done

clean:  ## Remove the environment and everything that was made here
	rm -rf $(VENV) build dist demo bench stack cluster artefacts mutants .cache *.egg-info .pytest_cache .ruff_cache .mypy_cache

# Programs of pynetdicom that would shadow DCMTK's of the same names where .venv/bin comes first in PATH.
SHADOWS := echoscp echoscu findscu getscu movescu qrscp storescp storescu

# The node alone: no torch, under 1 GB.
$(VENV)/.node: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the node into $(VENV) (about a minute, more on a slow line) ..."
	$(PIP) install --constraint constraints.txt --editable .
	@rm -f $(addprefix $(BIN)/,$(SHADOWS))
	@$(BIN)/python -c "$$SQLITE_IS_NEW_ENOUGH" || { \
	  echo "SQLite $$($(BIN)/python -c 'import sqlite3; print(sqlite3.sqlite_version)') is too old for the job store on" \
	    "$$($(BIN)/python -V): use Python 3.11 (make clean; make PYTHON=python3.11), or install SQLite 3.42 or newer."; \
	  exit 1; }
	@touch $@

# From Python 3.12 on, DBOS takes the time from unixepoch('subsec'), which SQLite has since 3.42. Where
# the system's is older, the wheel pysqlite3 brings a newer one; it exists for Linux on x86-64 only.
define SQLITE_IS_NEW_ENOUGH
import importlib.util, sqlite3, sys
old = sys.version_info >= (3, 12) and sqlite3.sqlite_version_info < (3, 42)
sys.exit(old and importlib.util.find_spec('pysqlite3') is None)
endef
export SQLITE_IS_NEW_ENOUGH

# What the tests of the node and the engine need: no torch either.
$(VENV)/.test-node: $(VENV)/.node
	$(PIP) install --constraint constraints.txt --editable '.[test-node]'
	@touch $@

# torch first and by its exact version: a range finds gigabytes of CUDA before the CPU build.
$(VENV)/.test: $(VENV)/.node
	@echo "Installing the trainer and the test tools into $(VENV) ..."
	$(PIP) install --constraint constraints.txt torch==2.13.0
	$(PIP) install --constraint constraints.txt --editable '.[trainer,test,tensorrt-rtx]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "Hepar needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 ..."; \
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
# the stack need them. Each is a Debian package and a file that shows that it is installed.
ORTHANC := orthanc:Orthanc orthanc-dicomweb:libOrthancDicomWeb.so orthanc-python:libOrthancPython.so
STACK   := $(ORTHANC) nginx:nginx npm:npm
CLUSTER := $(STACK) postgresql:pg_lsclusters libnginx-mod-stream:ngx_stream_module.so
SYSTEM  := $(CLUSTER) dcmtk:dcmdump plastimatch:plastimatch chromium:chromium prometheus:promtool \
  fuse3:fusermount3
debian: PACKAGES = $(SYSTEM)
debian-stack: PACKAGES = $(STACK)
debian-cluster: PACKAGES = $(CLUSTER)
.PHONY: debian-stack debian-cluster
debian debian-stack debian-cluster:
	@missing=; for each in $(PACKAGES); do \
	  command -v "$${each#*:}" >/dev/null || [ -e "/usr/sbin/$${each#*:}" ] \
	    || [ -e "/usr/share/orthanc/plugins/$${each#*:}" ] \
	    || [ -e "/usr/lib/nginx/modules/$${each#*:}" ] || missing="$$missing $${each%%:*}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing$$missing ..."; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	    $$missing >/dev/null; \
	else \
	  echo "Not installed:$$missing. Tests that need them are skipped."; \
	  echo "To install them: sudo apt-get install$$missing"; \
	fi
