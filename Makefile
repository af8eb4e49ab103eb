# make demo        environment, an AiiDA profile of its own in demo/, a whole study at demo size, a report
# make test        environment, the tests without the slow ones        make test-all   every test
# make test-faults kills parts of a running demo, or all of it, twelve times, and checks that it survives (an hour or more)
# make test-cluster  as root, with Debian's packages: the recipes of the manual on a cluster of one node, which it starts
# make coverage    the tests without the slow ones, and the share of lines that they run in each room, in per cent
# make venv        the environment alone: .venv with an editable install, the engines and the test tools
# make lint        style, import contracts, types    make docs   the manual      make bench   the benchmarks
# make intervals   coverage and width of the intervals of D over 2000 ensembles each (half an hour; an interrupted call continues)
# make clean       build products and caches        make clean-demo   the demo (its daemon is stopped first)
# make distclean   clean, and the environment
#
# Variables: PYTHON (3.11 or newer), VENV, PYTEST_FLAGS; for the demo PROTOCOL=smoke, FOUNDATION=file.model,
# DATASET=file.extxyz or FROM=otf (begin without a dataset: the stand-in for VASP learns on the fly and labels one);
# TORCH_INDEX: where torch comes from. If empty, the default index, which on Linux gives the CUDA build (some GB).
# Without a GPU avoid this download: TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The environment keeps the index. If another index is given, torch is installed again from there.

PYTHON ?= python3
VENV ?= .venv
PROTOCOL ?=
FOUNDATION ?=
DATASET ?=
FROM ?=
PYTEST_FLAGS ?=

TORCH_INDEX_BEFORE := $(shell cat $(VENV)/.torch 2> /dev/null)
TORCH_INDEX ?= $(TORCH_INDEX_BEFORE)
OTHER_TORCH := $(if $(wildcard $(VENV)/.torch),$(if $(filter x$(TORCH_INDEX),x$(TORCH_INDEX_BEFORE)),,yes))

$(if $(word 2,$(VENV)),$(error VENV=$(VENV) has a blank in its path, which make takes for two files: name another folder))

# relative if VENV is relative: the path of the checkout may have blanks
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
# two test files at a time, in the order of tests/conftest.py
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
export PLACE := $(abspath $(VENV))
export PATH := $(PLACE)/bin:$(PATH)

.PHONY: venv place demo test test-all test-cluster test-faults coverage lint docs bench intervals clean clean-demo distclean always

venv: $(VENV)/.installed

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, make PYTHON=... names it")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch first and by itself, so that no other package chooses another build
$(VENV)/.torch: $(VENV)/.created constraints.txt $(if $(OTHER_TORCH),always)
	$(if $(OTHER_TORCH),$(BIN)/python -m pip --quiet uninstall --yes torch)
	$(INSTALL) --no-compile $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	echo '$(TORCH_INDEX)' > $@

# byte code on all cores at once: pip uses one
$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(INSTALL) --no-compile -c constraints.txt -e '.[engines,tests,tools]'
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib > /dev/null 2>&1 || true  # some packages bring templates
	touch $@

demo: place venv
	$(BIN)/aiida-mghdiff demo --directory demo $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(FOUNDATION),--foundation '$(FOUNDATION)') \
	    $(if $(DATASET),--dataset '$(DATASET)') $(if $(FROM),--from $(FROM))

# refuse a path with which AiiDA's daemon cannot start, before gigabytes are installed
place:
	@case "$$PLACE" in *[[:space:]\'\"\\\$$]*) echo "AiiDA's daemon cannot be started from the environment $$PLACE," \
	    'which has a blank, a quote, a backslash or a dollar sign in its path: make VENV=/folder/without/them demo' >&2; exit 1;; esac

test: venv
	$(PYTEST) -m 'not slow' $(PYTEST_FLAGS)

test-all: venv
	$(PYTEST) $(PYTEST_FLAGS)

# a table by room of the lines that the fast tests run in this process; jobs run in other processes
coverage: venv
	$(PYTEST) -m 'not slow' --cov=aiida_mghdiff --cov-report= $(PYTEST_FLAGS)
	@for room in aiida_mghdiff/*/; do case $$room in *__pycache__*) continue;; esac; \
	    printf '%-32s %3s %%\n' "$$room" "$$($(BIN)/coverage report --format=total --include="$$room*")"; done
	@printf '%-32s %3s %%\n' all "$$($(BIN)/coverage report --format=total)"

# without xdist, since all tests share one cluster
test-cluster: venv
	$(BIN)/python -m pytest -m cluster tests/cluster $(PYTEST_FLAGS)

test-faults: venv
	rm -rf build/faults
	$(BIN)/python tests/faults/demo_survives.py build/faults

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy --no-error-summary

docs: venv
	$(INSTALL) -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: venv
	$(INSTALL) -c constraints.txt -e '.[benchmarks]'
	status=0; for file in benchmarks/*.py; do OMP_NUM_THREADS=1 $(BIN)/python "$$file" || status=1; done; exit $$status

intervals: venv
	OMP_NUM_THREADS=1 $(BIN)/python tests/helpers/intervals.py

clean:
	rm -rf build dist docs/_build *.egg-info .pytest_cache .ruff_cache .import_linter_cache .mypy_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-demo:
	if [ -d demo/.aiida ]; then $(BIN)/aiida-mghdiff profile --stop demo; fi
	rm -rf demo

distclean: clean
	rm -rf $(VENV)
