# make setup | run | test | check | bench | train | wheel | clean
#
# `make setup` creates .venv with everything in it; it takes seconds when nothing changed.

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev system run test check lint bench train wheel clean

help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt .ci/install
	@PYTHON="$(PYTHON)" VENV="$(VENV)" .ci/install

setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

# What the browser and camera tests need from the system; quiet when present.
system:
	@.ci/system-packages

run: setup
	@$(VENV)/bin/streamtrack serve demo

test: setup-dev system lint
	@$(PY) -m pytest --timeout 300

check: setup-dev lint
	@$(PY) -m pytest -m "not slow and not browser and not rtsp and not data and not gpu"

lint: setup-dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

bench: setup-dev
	@$(PY) benchmarks/step.py --peers upstream --size 512 --objects 1 4

# The embedded model from raw data to weights: resumable, ends after MINUTES of work (training/).
DATA ?= ../shared/data
MINUTES ?= 95
CLIP_ART := runs/clip-art/usr/share/openclipart/png
$(CLIP_ART):
	@mkdir -p runs && cd runs && apt-get -qq download openclipart-png && \
		dpkg-deb -x openclipart-png_*.deb clip-art
train: setup-dev $(CLIP_ART)
	@$(PY) -m training.pretrained --out runs/trunk.safetensors
	@$(PY) -m training.pseudo_labels --data $(DATA) --out runs/tracks
	@$(PY) -m training.train --data $(DATA) --minutes $(MINUTES) --out runs/nano \
		--trunk runs/trunk.safetensors --clip-art $(CLIP_ART) --tracks runs/tracks
	@$(PY) -m training.export --run runs/nano --out checkpoints/nano.safetensors

wheel: setup-dev
	@$(PY) -m build --wheel --no-isolation --outdir dist .

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
