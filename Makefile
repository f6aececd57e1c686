# Development targets, listed by `make`.
# Variables: RECORDINGS=folder (demo), TENSORFLOW=cpu|gpu|tpu, PYTHON=interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

TENSORFLOW ?= cpu
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check
PRESET := --preset=tiny
export TF_CPP_MIN_LOG_LEVEL ?= 3

# Each folder of recordings has a demo of its own, so that runs and datasets never mix.
DEMO := demo
ifdef RECORDINGS
DEMO := demo/from-$(shell basename "$(RECORDINGS)" | tr -c 'A-Za-z0-9._\n-' '_')
endif

.PHONY: help demo test quick faults test-beam test-tpu-image test-tensorflow check-tpu test-vertex sdist test-sdist image judge check lint format benchmark results results-autoencoder clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed-$(TENSORFLOW)  ## recordings to songs in minutes; RECORDINGS=folder for your own
ifdef RECORDINGS
	@echo "1/4 Using the recordings in $(RECORDINGS)."
else
	@echo "1/4 Making example recordings in $(DEMO)/recordings."
	@$(BIN)/python -m tools.example_recordings --output_dir=$(DEMO)/recordings
endif
	@echo "2/4 Preparing the dataset in $(DEMO)/dataset."
	@$(BIN)/python create_tfrecord.py $(PRESET) --data_dir=$(DEMO)/dataset \
	  --input_dir="$(or $(RECORDINGS),$(DEMO)/recordings)"
	@echo "3/4 Training a small model in $(DEMO)/run."
	@$(BIN)/python train_model.py $(PRESET) --data_dir=$(DEMO)/dataset --run_dir=$(DEMO)/run
	@echo "4/4 Generating songs in $(DEMO)/songs."
	@$(BIN)/python generate_songs.py $(PRESET) --run_dir=$(DEMO)/run --output_dir=$(DEMO)/songs
	@echo "Done. The songs:"
	@ls -1 $(DEMO)/songs/*.wav

test: $(VENV)/installed-dev  ## run all tests except the fault tests
	@echo "Running the tests."
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

quick: $(VENV)/installed-dev  ## run the tests without the slow ones
	@echo "Running the quick tests."
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile -m "not slow and not faults"

faults: $(VENV)/installed-dev  ## run the long fault tests: kills, damaged files, full disks
	@echo "Running the fault tests."
	@$(BIN)/python -m pytest -m faults --durations=10

# Apache Beam needs older packages than the rest, so it has its own environment.
test-beam: $(VENV)-beam/installed  ## run the tests of the Beam runner
	@echo "Running the tests of the Beam runner."
	@$(VENV)-beam/bin/python -m pytest tests/dataset/test_beam.py

$(VENV)-beam/installed: setup.py | $(BIN)/python
	@echo "Installing Apache Beam into $(VENV)-beam."
	@$(BIN)/python -m venv $(VENV)-beam
	@$(VENV)-beam/bin/python -m pip install -qq --disable-pip-version-check --editable '.[beam]' pytest
	@touch $@

# JAX and libtpu take 2 GB and have pinned versions, so they have their own environment.
check-tpu: $(VENV)-tpu/installed  ## compile every preset for a TPU without having one: memory, estimated time
	@echo "Compiling every preset for a TPU; some minutes."
	@$(VENV)-tpu/bin/python -m pytest tests/tools/test_tpu_compiler.py
	@$(VENV)-tpu/bin/python -m tools.check_tpu --preset=all

$(VENV)-tpu/installed: setup.py | $(BIN)/python
	@echo "Installing the TPU compiler into $(VENV)-tpu."
	@$(BIN)/python -m venv $(VENV)-tpu
	@$(VENV)-tpu/bin/python -m pip install -qq --disable-pip-version-check --editable '.[cpu,tpu-check]' pytest
	@touch $@

# TPU VMs have another distribution of TensorFlow, older and without XLA for the CPU. These tests run
# the code on its CPU device; tools/check_tpu.py covers the TPU.
TENSORFLOW_TESTS := tests/platform/test_cluster.py tests/platform/test_devices.py tests/models tests/training \
  tests/generation tests/runs/test_checkpoints.py tests/runs/test_runs.py tests/dataset/test_pipeline.py

test-tpu-image: $(VENV)-tpu-image/installed  ## run the TensorFlow tests on the TensorFlow of TPU VMs
	@echo "Running the TensorFlow tests on the TensorFlow of TPU VMs, on its CPU device."
	@TPU_SKIP_MDS_QUERY=1 $(VENV)-tpu-image/bin/python -m pytest --numprocesses=auto --dist=loadfile -m "not xla and not faults" $(TENSORFLOW_TESTS)

$(VENV)-tpu-image/installed: setup.py | $(BIN)/python
	@echo "Installing the TensorFlow of TPU VMs into $(VENV)-tpu-image."
	@$(BIN)/python -m venv $(VENV)-tpu-image
	@$(VENV)-tpu-image/bin/python -m pip install -qq --disable-pip-version-check --editable '.[tpu,dev]'
	@touch $@

VERSION ?= 2.20.0
OTHER := $(VENV)-tensorflow-$(VERSION)

test-tensorflow: $(OTHER)/installed  ## run the TensorFlow tests on another version, VERSION=2.20.0
	@echo "Running the TensorFlow tests on TensorFlow $(VERSION)."
	@$(OTHER)/bin/python -m pytest --numprocesses=auto --dist=loadfile -m "not faults" $(TENSORFLOW_TESTS)

$(OTHER)/installed: setup.py | $(BIN)/python
	@echo "Installing TensorFlow $(VERSION) into $(OTHER)."
	@$(BIN)/python -m venv $(OTHER)
	@$(OTHER)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[cpu,dev]' tensorflow==$(VERSION)
	@touch $@

# Google's SDK for Vertex AI takes 280 MB, and only submission needs it.
test-vertex: $(VENV)-cloud/installed  ## check Vertex AI jobs against the types of Google's SDK
	@echo "Running the tests of Vertex AI jobs."
	@$(VENV)-cloud/bin/python -m pytest tests/tools/test_vertex.py

$(VENV)-cloud/installed: setup.py | $(BIN)/python
	@echo "Installing Google's SDK into $(VENV)-cloud."
	@$(BIN)/python -m venv $(VENV)-cloud
	@$(VENV)-cloud/bin/python -m pip install -qq --disable-pip-version-check --editable '.[cloud]' pytest
	@touch $@

sdist: $(VENV)/installed-dev  ## build the source distribution, dist/lstm_gen.tar.gz
	@rm -rf dist && $(BIN)/python -c 'from setuptools import build_meta; build_meta.build_sdist("dist")' >/dev/null
	@mv dist/lstm_gen-*.tar.gz dist/lstm_gen.tar.gz && ls dist/lstm_gen.tar.gz

# In a fresh environment, as in docker/*.Dockerfile; installing takes minutes.
test-sdist: sdist  ## install the source distribution in a fresh environment and test its commands
	@rm -rf /tmp/lstm_gen-sdist && $(BIN)/python -m venv /tmp/lstm_gen-sdist
	@echo "Installing dist/lstm_gen.tar.gz into /tmp/lstm_gen-sdist."
	@/tmp/lstm_gen-sdist/bin/python -m pip install -qq --disable-pip-version-check \
	  "lstm_gen[$(TENSORFLOW)] @ file://$(CURDIR)/dist/lstm_gen.tar.gz"
	@SDIST_VENV=/tmp/lstm_gen-sdist $(BIN)/python -m pytest -m "" tests/tools/test_sdist.py

# Jobs use the image REGION-docker.pkg.dev/PROJECT/lstm-gen/gpu:VERSION by default; push it there.
IMAGE_KIND := $(if $(filter tpu,$(TENSORFLOW)),tpu,gpu)
IMAGE ?= lstm-gen/$(IMAGE_KIND)
image: sdist  ## build the container image of jobs, IMAGE=name; TENSORFLOW=tpu for TPUs
	@docker build --file docker/$(IMAGE_KIND).Dockerfile --tag $(IMAGE) .

lint: $(VENV)/installed-dev  ## check format, lint and types
	@echo "Checking format, lint and types."
	@$(BIN)/ruff format --check --quiet . || { echo "Run 'make format'."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

check: lint test  ## lint and test, as required of every commit

format: $(VENV)/installed-dev  ## format the code and sort its imports
	@echo "Formatting."
	@$(BIN)/ruff check --quiet --fix --select I .
	@$(BIN)/ruff format --quiet .

benchmark: $(VENV)/installed-bench  ## run every benchmark beside its baseline
	@echo "Running the benchmarks; some minutes, on an otherwise idle machine."
	@$(BIN)/python -m benchmarks.run

# RUN=directory of a run, whose songs are judged beside held-out music; RECORDINGS=folder of its recordings;
# SONGS=flags of generate_songs.py. CLIPS="NAME=PATTERN ..." judges sound files instead.
RUN ?= $(DEMO)/run
SONGS ?= $(PRESET)
CLIPS ?=
JUDGED ?= $(DEMO)/judged
GROUPS := $(if $(CLIPS),$(CLIPS),recordings=$(JUDGED)/recordings/*.wav frames=$(JUDGED)/frames/*.wav songs=$(JUDGED)/songs/*.wav)

judge: $(VENV)-judge/installed $(if $(CLIPS),,$(VENV)/installed-$(TENSORFLOW))  ## notes that a transcriber hears in a run's songs, RUN=directory
ifeq ($(CLIPS),)
	@echo "Making held-out clips and 16 songs of $(RUN) in $(JUDGED)."
	@rm -rf "$(JUDGED)/recordings" "$(JUDGED)/frames" "$(JUDGED)/songs"
	@$(BIN)/python -m tools.judge.clips --run_dir=$(RUN) --output_dir=$(JUDGED) \
	  --input_dir="$(or $(RECORDINGS),$(DEMO)/recordings)"
	@$(BIN)/python generate_songs.py $(SONGS) --n_songs=16 --seconds=20 --run_dir=$(RUN) --output_dir=$(JUDGED)/songs
endif
	@$(VENV)-judge/bin/python -m tools.judge $(patsubst %,--clips='%',$(GROUPS))

$(VENV)-judge/installed: tools/judge/requirements.txt | $(BIN)/python
	@echo "Installing Basic Pitch into $(VENV)-judge."
	@$(BIN)/python -m venv $(VENV)-judge
	@$(VENV)-judge/bin/python -m pip install -qq --disable-pip-version-check --requirement $<
	@$(VENV)-judge/bin/python -m pip install -qq --disable-pip-version-check --no-deps basic-pitch==0.4.0
	@touch $@

# PRELUDES=files; docs/results.md uses BWV 846, 847 and 850 by one pianist.
PRELUDES ?=
RESULTS := demo/results
DEFAULT := --preset=default

results: $(VENV)/installed-$(TENSORFLOW)  ## train on three preludes with mixture and mse heads, and evaluate their songs
	@test -n "$(PRELUDES)" || { echo "No recordings: give PRELUDES=files."; exit 1; }
	@mkdir -p $(RESULTS)/recordings && cp -f $(PRELUDES) $(RESULTS)/recordings/
	@$(BIN)/python create_tfrecord.py $(DEFAULT) --input_dir=$(RESULTS)/recordings --data_dir=$(RESULTS)/dataset
	@for head in mixture mse; do \
	  $(BIN)/python train_model.py $(DEFAULT) --head=$$head --data_dir=$(RESULTS)/dataset --run_dir=$(RESULTS)/$$head; \
	done
	@$(BIN)/python -m lstm_gen evaluate --what=songs $(DEFAULT) --n_songs=16 --seconds=20 \
	  --run_dir=$(RESULTS)/mixture --run_dir=$(RESULTS)/mse --output=benchmarks/results/piano.md
	@$(BIN)/python generate_songs.py $(DEFAULT) --run_dir=$(RESULTS)/mixture --output_dir=$(RESULTS)/songs

# NOTES=folder of single notes with labels.csv beside them.
NOTES ?=
LATENT_SIZES ?= 16 32 64 128 256 384
NOTES_RESULTS := demo/autoencoder
AUTOENCODER := --preset=autoencoder

results-autoencoder: $(VENV)/installed-bench  ## train autoencoders with 16 to 384 latents a step on notes, and evaluate them
	@test -n "$(NOTES)" || { echo "No recordings: give NOTES=folder."; exit 1; }
	@$(BIN)/python create_tfrecord.py $(AUTOENCODER) --input_dir=$(NOTES) --data_dir=$(NOTES_RESULTS)/dataset
	@for size in $(LATENT_SIZES); do \
	  $(BIN)/python train_model.py $(AUTOENCODER) --latent_size=$$size \
	    --data_dir=$(NOTES_RESULTS)/dataset --run_dir=$(NOTES_RESULTS)/$$size; \
	done
	@$(BIN)/python -m lstm_gen evaluate --what=reconstructions $(LATENT_SIZES:%=--run_dir=$(NOTES_RESULTS)/%) \
	  --input_dir=$(NOTES) --pitch_label=midi_pitch --output=benchmarks/results/autoencoder.md

clean:  ## remove caches, builds and the demo, but not .venv
	@echo "Removing caches, builds and the demo."
	@rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf

$(BIN)/python:
	@for python in $(PYTHON) python3.12 python3.11 python3.10 python3; do \
	  if "$$python" -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
	      >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$("$$python" --version)."; \
	    exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo "error: no Python 3.10, 3.11 or 3.12 with its venv module was found; install one" \
	  "(on Debian: python3 and python3-venv) or name it: make PYTHON=/path/to/python"; \
	exit 1

# One stamp per set of extras, renewed when the requirements change.
$(VENV)/installed-dev: EXTRAS = $(TENSORFLOW),dev
$(VENV)/installed-bench: EXTRAS = $(TENSORFLOW),bench
$(VENV)/installed-%: EXTRAS = $*

$(VENV)/installed-%: setup.py | $(BIN)/python
	@echo "Installing the packages for '$(EXTRAS)' into $(VENV); the first time takes minutes."
	@$(PIP_INSTALL) --editable '.[$(EXTRAS)]'
	@touch $@
