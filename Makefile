# make demo       a trained table gains rows on a real knowledge graph
# make test       the whole test suite
# make test-tf1   the same suite on genuine TensorFlow 1.15.5 (needs a Python 3.7)
# make legacy-fixtures   trains the old models of tests/data/legacy again, on TensorFlow 1.15.5
# make tf1-fixtures   writes tests/data/tf1 again, on TensorFlow 1.15.5
# make soak       kills, fills and damages in earnest: the whole campaigns of all tests that know PARTIAL_EMBED_SOAK
# make data-wordnet   fetches two versions of WordNet for scripts/grow_wordnet.py (needs apt-get and npm)
# make benchmark  loading, merging, memory and steps beside plain TensorFlow, at 5M x 32
# make docs       the pages and a reference of every public name, in build/docs
# make quality    what ruff finds;  make style  lets it mend
# make .venv-readers/test   gensim, safetensors and TensorBoard, by which tests read what export writes
# make clean      removes environments, data and outputs

PYTHON ?= python3
PYTEST_WORKERS ?= 2

# A Python 3.7: given as PYTHON37=..., on PATH, or one of pyenv's.
PYTHON37 ?= $(shell for python in python3.7 "$$(pyenv root 2>/dev/null)"/versions/3.7.*/bin/python3.7; do \
	"$$python" -c 'import sys; assert sys.version_info[:2] == (3, 7)' 2>/dev/null && echo "$$python" && break; done)

export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_ENABLE_ONEDNN_OPTS ?= 0

.PHONY: demo test test-tf1 legacy-fixtures tf1-fixtures soak benchmark docs quality style data-wordnet wheel clean

demo: .venv/demo
	.venv/bin/python scripts/demo.py

test: .venv/test
	.venv/bin/python -m pytest -n $(PYTEST_WORKERS)

test-tf1:
ifeq ($(strip $(PYTHON37)),)
	@echo "make test-tf1: NOT RUN. Genuine TensorFlow 1.15.5 needs a CPython 3.7; none is on PATH or in pyenv. Give one as PYTHON37=/path/to/python3.7."
else
	@$(MAKE) .venv-tf1/test
	.venv-tf1/bin/python -m pytest -n $(PYTEST_WORKERS)
	@echo "make test-tf1: RUN on TensorFlow 1.15.5 with $(PYTHON37)."
endif

legacy-fixtures: .venv-tf1/test
	.venv-tf1/bin/python tests/legacy/make_fixtures.py

tf1-fixtures: .venv-tf1/test
	.venv-tf1/bin/python tests/legacy/make_tf1_fixtures.py

soak: .venv/test
	PARTIAL_EMBED_SOAK=1 .venv/bin/python -m pytest $$(grep -rl PARTIAL_EMBED_SOAK tests --include='test_*.py') -v

benchmark: .venv/demo
	.venv/bin/python scripts/benchmark.py

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

.venv-tf1/test: setup.py
	@test -n "$(strip $(PYTHON37))" || { echo "TensorFlow 1.15.5 needs a CPython 3.7: give one as PYTHON37=/path/to/python3.7."; exit 1; }
	$(PYTHON37) -m venv .venv-tf1
	.venv-tf1/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip<24.1'
	.venv-tf1/bin/python -m pip install --quiet tensorflow==1.15.5 numpy==1.18.5 protobuf==3.19.6 \
		h5py==2.10.0 gast==0.2.2 'wrapt<1.15' absl-py pytest pytest-xdist hypothesis matplotlib
	.venv-tf1/bin/python -m pip install --quiet --no-deps -e .
	@touch $@

# An environment of its own: nothing that the package needs, and no TensorFlow.
.venv-readers/test:
	$(PYTHON) -m venv .venv-readers
	.venv-readers/bin/python -m pip install --quiet --disable-pip-version-check \
		'gensim>=4' safetensors numpy tensorboard
	@touch $@

clean:
	rm -rf .venv .venv-tf1 .venv-readers data output build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
