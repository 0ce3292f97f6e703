# What a person types; .ci/run types the same.
PYTHON ?= python3
SECONDS ?= 0
PREFIX ?= /opt/maintd
RUNTIME := .venv
DEV := .venv-dev
BUILD := .venv-build
PIP_FLAGS := --disable-pip-version-check --no-input --quiet --require-hashes --no-deps

.PHONY: run test check format bench faults lock schema man docs wheel install uninstall clean setup

setup: $(RUNTIME)/.ready $(DEV)/.ready

# Two environments: the daemon runs, also in tests, from one that holds the runtime lock and nothing else.
$(RUNTIME)/.ready: requirements.lock $(DEV)/.ready
	$(PYTHON) -m venv --clear $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install $(PIP_FLAGS) -r requirements.lock
	$(RUNTIME)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-index --force-reinstall dist/editable/*.whl
	touch $@

$(DEV)/.ready: requirements-dev.lock pyproject.toml maintd/__init__.py
	$(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/python -m pip install $(PIP_FLAGS) -r requirements-dev.lock
	rm -rf dist/editable && mkdir -p dist/editable
	$(DEV)/bin/python -c 'import hatchling.build; hatchling.build.build_editable("dist/editable")'
	$(DEV)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-index --force-reinstall dist/editable/*.whl
	touch $@

# All that building the wheel takes, so that installing does not need the tools of development.
$(BUILD)/.ready: requirements-build.lock
	$(PYTHON) -m venv --clear $(BUILD)
	$(BUILD)/bin/python -m pip install $(PIP_FLAGS) -r requirements-build.lock
	touch $@

run: setup
	$(DEV)/bin/python deploy/demo.py --seconds $(SECONDS)

test: setup
	$(DEV)/bin/python -m pytest -n 2 --dist worksteal

check: setup
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

format: setup
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

# Every figure of docs/benchmarks.md, about ten minutes. MAINTD_BENCH_LOGS names a folder of real logs to start from.
bench: setup
	$(DEV)/bin/python bench/startup.py
	$(DEV)/bin/python bench/compress.py
	$(DEV)/bin/python bench/tree.py
	$(DEV)/bin/python bench/daemon.py
	$(DEV)/bin/python bench/growth.py
	$(DEV)/bin/python bench/collapse.py

# Every campaign of faults at its full size, up to 45 minutes; a part of each is in `make test`. Needs root for most.
faults: setup
	$(DEV)/bin/python -m tests.faults

# uv resolves for every Python and platform at once; it is needed to write the locks only.
lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --no-header --no-annotate pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --no-header --no-annotate --group build -c requirements-dev.lock -o requirements-build.lock

schema: setup
	$(RUNTIME)/bin/maintd schema > config/maintd.schema.json.new
	mv config/maintd.schema.json.new config/maintd.schema.json

# docs/man/*.1, from the text of --help; the wheel carries them.
man: setup
	$(DEV)/bin/python docs/man.py

docs: setup
	$(DEV)/bin/python docs/generate.py

wheel: $(BUILD)/.ready
	$(BUILD)/bin/python -c 'import hatchling.build; print("dist/" + hatchling.build.build_wheel("dist"))'

# A version beside those that are there, and the link `current` to it; touches nothing outside PREFIX.
install: $(BUILD)/.ready
	$(BUILD)/bin/python deploy/install.py --prefix $(PREFIX)

uninstall:
	$(PYTHON) deploy/install.py --prefix $(PREFIX) --uninstall

clean:
	rm -rf $(RUNTIME) $(DEV) $(BUILD) dist .run
