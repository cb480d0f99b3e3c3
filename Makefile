# Every target installs what it needs by itself; see .ci/setup.
SHELL := /bin/sh
BIN := .venv/bin
ENGINE := .engine
JUNIT ?= build/test-results.xml
# How many tests run side by side. A file's tests stay together, for they share what they built; the
# long ones (e2e) come first, so that the short ones fill the end.
WORKERS ?= 3
# The tests start the command some thousand times: Python may keep what it compiled of it, whatever
# the environment (of a container, mostly) says. That halves the time of most starts.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --dist loadfile --no-loadscope-reorder

# A private Docker Engine for what follows, which ends with it.
WITH_ENGINE = trap 'tests/engine.sh stop $(ENGINE)' EXIT; trap 'exit 130' HUP INT TERM; \
	tests/engine.sh start $(ENGINE) >/dev/null && eval "$$(tests/engine.sh env $(ENGINE))" &&

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-gpu test deep coverage check lint type golden mutants bench pairs faults \
  sdists vllm referrers platforms lazy recipes builders ray siege engine \
  engine-stop clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 16

setup: ## fill .venv and install missing system packages, for development
	@.ci/setup test

demo: ## build and smoke the CPU environment: spec, lock, image, container, report
	@.ci/setup demo
	@$(BIN)/envbuilder build omni-cpu --report build/omni-cpu.html --output-image oci:build/omni-cpu

demo-gpu: ## the same for the real serving stack with its CUDA wheels (downloads 4 GB)
	@.ci/setup demo
	@$(BIN)/envbuilder build omni-gpu --report build/omni-gpu.html

test: ## all tests, with real registries, runtimes, engines and indexes (WORKERS=3 at a time)
	@.ci/setup test
	@$(MAKE) --no-print-directory lint type
	@mkdir -p build; $(WITH_ENGINE) \
	$(PYTEST) -m "not deep" --numprocesses $(WORKERS) --durations 20 --junit-xml=$(JUNIT) $(COVERAGE)

deep: ## the tests that take minutes each and seldom fail alone (a quarter of an hour)
	@.ci/setup test
	@$(WITH_ENGINE) $(PYTEST) -m deep --numprocesses $(WORKERS) --durations 10

coverage: ## the same, and which lines no test runs
	@$(MAKE) --no-print-directory test COVERAGE="--cov --cov-report=term:skip-covered"

check: ## the inner loop, a minute: lint, types, unit and golden tests
	@.ci/setup test
	@$(MAKE) --no-print-directory lint type
	@$(PYTEST) --numprocesses $$(( $$(nproc) + 1 )) --hypothesis-profile=quick -q tests/unit tests/golden

lint: ## ruff: rules and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

type: ## mypy, strict
	@$(BIN)/mypy

golden: ## write the golden files anew, to be looked at before they are committed
	@.ci/setup test
	@$(BIN)/pytest -q tests/golden --regenerate

mutants: ## change the core a little, a hundred times: do the unit tests notice? (ARGS="--all" for hours)
	@.ci/setup test
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: ## measure layering and builds side by side, as ratios of one run
	@.ci/setup test
	@$(BIN)/python -m tests.bench

pairs: ## smoke every family with releases of transformers and of vLLM (an hour; ARGS=vllm, ARGS=5.24.0)
	@.ci/setup test
	@$(BIN)/python -m tests.pairs $(ARGS)

faults: ## plant faults into the newest families' code, and record what the smoke sees (ten minutes)
	@.ci/setup test
	@$(BIN)/python -m tests.planted

sdists: ## build twenty real sdists as uv does, and compare every file (a few minutes)
	@.ci/setup test
	@SDISTS=all $(BIN)/pytest -q tests/integration/test_sdist_parity.py

vllm: ## opt-in: the real vLLM serves in a container, sound and faulty (1.3 GB of wheels)
	@.ci/setup test
	@$(BIN)/pytest -q tests/integration/real_vllm.py

referrers: ## pushes and evidence on a registry with the referrers API, compiled first (a minute of Go)
	@.ci/setup test
	@$(PYTEST) -q tests/integration/referrers_api.py

platforms: ## a Debian base, a source and a smoke for arm64, on amd64 through qemu (root; some minutes)
	@.ci/setup test
	@$(BIN)/pytest -q tests/integration/real_platforms.py

lazy: ## real pullers, from nothing to a started image: seconds and bytes (root; 8 GB of disk)
	@.ci/setup test
	@$(BIN)/envbuilder build omni-cpu --no-smoke --locked
	@$(BIN)/python -m tests.lazy omni-cpu --leaf pillow==11.1.0 $(ARGS)

recipes: ## run the pipelines of docs/examples, step by step on bare machines (half an hour)
	@.ci/setup test
	@$(BIN)/pytest -q tests/integration/real_recipes.py

builders: ## build BuildKit's own daemon (10 minutes, 2 GB), and images with it: behind TLS, in a container
	@.ci/setup test
	@$(WITH_ENGINE) $(BIN)/pytest -q tests/integration/real_builders.py

RAY := build/ray
RAY_WHEELS := build/ray-wheels
ray: ## a real Ray of two machines makes environments; machines and drivers are killed
	@.ci/setup test
	@[ -x $(RAY)/bin/ray ] || { $(BIN)/uv venv --quiet --python $(BIN)/python $(RAY) && \
	$(BIN)/uv pip install --quiet --python $(RAY)/bin/python 'ray[default]==2.60.0' --editable .; }
	@[ -d $(RAY_WHEELS) ] || { rm -rf $(RAY_WHEELS).part && \
	$(BIN)/uv tool run --quiet --python $(BIN)/python pip download -qq --no-deps --only-binary :all: \
	--dest $(RAY_WHEELS).part -r tests/integration/ray_wheels.txt && mv $(RAY_WHEELS).part $(RAY_WHEELS); }
	@RAY_PYTHON=$(RAY)/bin/python RAY_WHEELS=$(RAY_WHEELS) unshare --net sh -c 'ip link set lo up && exec "$$@"' - \
	env PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -q -rP tests/integration/real_ray.py $(ARGS)

siege: ## attack the command and its parsers for an hour, and write the figures into the docs
	@.ci/setup test
	@$(WITH_ENGINE) $(BIN)/python -m tests.siege --write $(ARGS)

engine: ## start a private Docker Engine under .engine/
	@tests/engine.sh start $(ENGINE)
	@tests/engine.sh env $(ENGINE)

engine-stop: ## stop it
	@tests/engine.sh stop $(ENGINE)

clean: engine-stop ## remove what the targets made, the store excepted
	@rm -rf build dist .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage $(ENGINE)
