"""The cookbook: every program on the page runs as it stands, alone, on the page's old model."""

import os
import re
import shutil
import types

import pytest
import tensorflow.compat.v1 as tf

DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")
PAGE = os.path.join(DOCS, "cookbook.md")


def sections():
    """Returns {heading: list of its blocks of Python}, in the order of the page."""
    with open(PAGE) as stream:
        parts = re.split(r"^## (.*)\n", stream.read(), flags=re.M)[1:]
    return {
        heading: re.findall(r"```python\n(.*?)```", text, re.S)
        for heading, text in zip(parts[::2], parts[1::2])
    }


FIRST, *PROGRAMS = [heading for heading, blocks in sections().items() if blocks]


def run(heading, names):
    (program,) = sections()[heading]
    module = types.ModuleType("program")
    module.__dict__.update(names)
    exec(compile(program, f"{PAGE}: {heading}", "exec"), module.__dict__)  # noqa: S102
    return module.__dict__


@pytest.fixture(scope="module")
def old_model(tmp_path_factory):
    """What the first block defines, and the directory that it wrote."""
    directory, before = tmp_path_factory.mktemp("first"), os.getcwd()
    os.chdir(directory)
    try:
        return run(FIRST, {}), directory
    finally:
        os.chdir(before)


@pytest.mark.parametrize("heading", PROGRAMS)
def test_program(heading, old_model, tmp_path, monkeypatch):
    if heading == "An Estimator" and not hasattr(tf, "estimator"):
        pytest.skip("This TensorFlow has no Estimators.")
    names, directory = old_model
    for name in os.listdir(directory):
        shutil.copy(str(directory / name), str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run(heading, names)


def test_the_code_of_the_concepts_runs(old_model, tmp_path, monkeypatch):
    names, directory = old_model
    for name in os.listdir(directory):
        shutil.copy(str(directory / name), str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with open(os.path.join(DOCS, "concepts.md")) as stream:
        blocks = re.findall(r"```python\n(.*?)```", stream.read(), re.S)
    assert len(blocks) >= 8
    module = types.ModuleType("concepts")
    module.__dict__.update(names)
    for block in blocks:
        exec(compile(block, "concepts.md", "exec"), module.__dict__)  # noqa: S102


def test_every_program_promises_something():
    assert len(PROGRAMS) >= 11
    for heading in PROGRAMS:
        (program,) = sections()[heading]
        assert "\nassert " in program, heading


@pytest.mark.parametrize("page", ["cookbook.md", "concepts.md", "performance.md"])
def test_links_lead_somewhere(page):
    with open(os.path.join(DOCS, page)) as stream:
        text = stream.read()
    for path in re.findall(r"\]\(([^)#]+)\)", text):
        assert os.path.exists(os.path.join(DOCS, path)), path
    assert "](http" not in text
