# mm_nav: `make demo` and `make test` set everything up by themselves.
#   make demo [GOAL="go to the red barrel"] [GOAL_POSE=x,y] [WORLD=file.sdf] [START=x,y,yaw] [ARGS="…"]
SHELL := /bin/bash
VENV ?= .venv
# Interpreter for the virtual environment, 3.10 to 3.12; empty = found by the set-up.
PYTHON ?=
BASE_PYTHON := $(or $(PYTHON),$(firstword $(foreach p,python3 python3.12 python3.11 python3.10,$(shell command -v $(p) 2>/dev/null))))
SETUP := $(BASE_PYTHON) -I mm_nav/installation.py --venv $(VENV) $(if $(PYTHON),--python $(PYTHON))
BIN := $(VENV)/bin

export OMP_WAIT_POLICY := PASSIVE
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
# What Fast DDS 2 reads, and since Kilted Fast DDS 3.
export $(if $(filter humble iron jazzy,$(ROS_DISTRO)),FASTRTPS,FASTDDS)_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds.xml

# With a sourced ROS 2 the interfaces built into the environment are an overlay of it; the wheels need nothing here.
ifneq ($(ROS_DISTRO),)
export AMENT_PREFIX_PATH := $(abspath $(VENV)):$(AMENT_PREFIX_PATH)
export LD_LIBRARY_PATH := $(abspath $(VENV))/lib:$(LD_LIBRARY_PATH)
endif

.DEFAULT_GOAL := help
.PHONY: help setup setup-train demo test lint clean

help:  ## show this text
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## virtual environment, Python packages, ROS interfaces (cached)
	@$(if $(BASE_PYTHON),,echo "[setup] no python3 found; run: sudo apt-get install -y python3 python3-venv" >&2; exit 1;) $(SETUP)

setup-train:  ## the same with PyTorch and Ray, for training
	@$(SETUP) --train

demo: setup  ## the simulated robot drives to a spoken goal through real ROS 2 nodes
	@$(BIN)/mm-nav demo $(if $(GOAL),--goal "$(GOAL)") $(if $(GOAL_POSE),--goal-pose=$(GOAL_POSE)) \
	  $(if $(WORLD),--world "$(WORLD)") $(if $(START),--start=$(START)) $(ARGS)

test:  ## set up, lint, type check, all tests
	@$(SETUP) --test
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

lint:  ## ruff, mypy and the import rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then $(BIN)/mypy; \
	  else echo "mypy is skipped: the annotations are checked with Python 3.11's NumPy stubs, others differ"; fi

clean:  ## remove the environment and everything that was built
	rm -rf $(VENV) build out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
