# make demo       a trained table gains rows on a real knowledge graph
# make test       the whole test suite
# make test-tf1   the same suite on genuine TensorFlow 1.15.5 (needs a Python 3.7);  make test-2.4, test-2.8 ...: on others
# make test-all   the suite on each of them and the newest, one after the other, and a table of what came out
# make legacy-fixtures   trains the old models of tests/data/legacy again, on TensorFlow 1.15.5
# make tf1-fixtures   writes tests/data/tf1 again, on TensorFlow 1.15.5
# make soak       kills, fills and damages in earnest: the whole campaigns of all tests that know PARTIAL_EMBED_SOAK
# make data-wordnet   fetches two versions of WordNet for scripts/grow_wordnet.py (needs apt-get and npm)
# make benchmark  loading, merging, memory, steps beside plain TensorFlow at 5M x 32, and beside other ways to do it at up to 10M
# make bench-quick   ratios to plain TensorFlow at small sizes, in two minutes;  make bench-peers: steps beside PEFT, PyKEEN and TFRA
# make docs       the pages and a reference of every public name, in build/docs
# make quality    what ruff finds;  make style  lets it mend
# make .venv-readers/test   gensim, safetensors and TensorBoard, by which tests read what export writes
# make clean      removes environments, data and outputs

PYTHON ?= python3
PYTEST_WORKERS ?= 2

# The TensorFlows of `make test-all` beside the newest: the Python that each runs on, and what is pinned there.
VERSIONS := tf1 2.4 2.8 2.12 2.15 2.18
pins-tf1  := 3.7 tensorflow==1.15.5 numpy==1.18.5 protobuf==3.19.6 h5py==2.10.0 gast==0.2.2 'wrapt<1.15'
pins-2.4  := 3.8 tensorflow==2.4.4 'protobuf<3.21'
pins-2.8  := 3.9 tensorflow==2.8.4 'numpy<1.24' 'protobuf<3.21' 'pyparsing<3.3'
pins-2.12 := 3.10 tensorflow==2.12.1
pins-2.15 := 3.11 tensorflow==2.15.1
pins-2.18 := 3.12 tensorflow==2.18.1

# A Python of a given version: given as PYTHON37=..., on PATH, or one of pyenv's.
find_python = $(or $(PYTHON$(subst .,,$(1))),$(shell for python in python$(1) "$$(pyenv root 2>/dev/null)"/versions/$(1).*/bin/python$(1); do \
	"$$python" -c 'import sys; assert "%d.%d" % sys.version_info[:2] == "$(1)"' 2>/dev/null && echo "$$python" && break; done))

# Of the rules below whose % is a TensorFlow.
version = $(firstword $(pins-$*))
python = $(call find_python,$(version))

export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_ENABLE_ONEDNN_OPTS ?= 0

# The suite in an environment, which keeps pytest's results for tests/versions.py.
suite = $(1)/bin/python -m pytest -n $(PYTEST_WORKERS) --junitxml=$(1)/suite.xml

.PHONY: demo test test-all $(VERSIONS:%=test-%) legacy-fixtures tf1-fixtures soak benchmark bench-quick bench-peers docs quality style data-wordnet wheel clean

demo: .venv/demo
	.venv/bin/python scripts/demo.py

test: .venv/test
	$(call suite,.venv)

test-all:
	@rm -f .venv*/suite.xml
	@status=0; for version in $(VERSIONS:%=test-%) test; do $(MAKE) --no-print-directory $$version || status=1; done; \
	$(PYTHON) tests/versions.py $(VERSIONS:%=.venv-%) .venv; exit $$status

$(VERSIONS:%=test-%): test-%:
	@python="$(python)"; if test -z "$$python"; then \
		echo "make $@: NOT RUN. $(word 2,$(pins-$*)) needs a CPython $(version); none is on PATH or in pyenv. Give one as PYTHON$(subst .,,$(version))=/path/to/python$(version)."; \
	else \
		$(MAKE) --no-print-directory .venv-$*/test && $(call suite,.venv-$*) && \
		echo "make $@: RUN on $(word 2,$(pins-$*)) with $$python."; \
	fi

legacy-fixtures: .venv-tf1/test
	.venv-tf1/bin/python tests/legacy/make_fixtures.py

tf1-fixtures: .venv-tf1/test
	.venv-tf1/bin/python tests/legacy/make_tf1_fixtures.py

soak: .venv/test
	PARTIAL_EMBED_SOAK=1 .venv/bin/python -m pytest $$(grep -rl PARTIAL_EMBED_SOAK tests --include='test_*.py') -v

benchmark: .venv/demo
	.venv/bin/python scripts/benchmark.py

bench-quick: .venv/demo
	.venv/bin/python scripts/benchmark.py --only=load,save,merge,build,step --together --rows=200000 \
		--step_rows=100000 --step_dims=32 --step_batches=1024 --step_new=half --seconds=0.5

# Each in an environment of its own, .venv-peer-..., which is made here and kept.
bench-peers: .venv/demo
	.venv/bin/python scripts/benchmark.py --only=peers

docs: .venv/docs
	.venv/bin/python scripts/make_docs.py

quality: .venv/quality
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

style: .venv/quality
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

data-wordnet: .venv/test
	.venv/bin/python scripts/fetch_data.py wordnet

wheel: .venv/test
	.venv/bin/python -m pip wheel --no-deps --wheel-dir dist .

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo .venv/test .venv/docs .venv/quality: .venv/%: setup.py | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

$(VERSIONS:%=.venv-%/test): .venv-%/test: setup.py
	@test -n "$(python)" || { echo "$(word 2,$(pins-$*)) needs a CPython $(version): give one as PYTHON$(subst .,,$(version))=/path/to/python$(version)."; exit 1; }
	$(python) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip<24.1'
	.venv-$*/bin/python -m pip install --quiet $(wordlist 2,99,$(pins-$*)) absl-py pytest pytest-xdist hypothesis matplotlib
	.venv-$*/bin/python -m pip install --quiet --no-deps -e .
	@touch $@

# An environment of its own: nothing that the package needs, and no TensorFlow.
.venv-readers/test:
	$(PYTHON) -m venv .venv-readers
	.venv-readers/bin/python -m pip install --quiet --disable-pip-version-check \
		'gensim>=4' safetensors numpy tensorboard
	@touch $@

clean:
	rm -rf .venv* data output build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
