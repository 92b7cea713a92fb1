"""docs/export.md: its program runs, and its table names every format."""

import os
import re

import tensorflow.compat.v1 as tf

from partial_embed.exporting.export import FORMATS

PAGE = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    "docs",
    "export.md",
)


def test_its_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open(PAGE, encoding="utf-8") as stream:
        text = stream.read()
    assert text.count("*On TensorFlow 2, ") == 1
    if not getattr(tf.keras, "__version__", "2").startswith("3"):  # which its last block is for
        text = text.split("*On TensorFlow 2, ")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(compile(block, PAGE, "exec"), names)


def test_it_names_every_format():
    with open(PAGE, encoding="utf-8") as stream:
        lines = [line for line in stream if line.startswith("| `")]
    assert {re.match(r"\| `(\w+)`", line).group(1) for line in lines} == set(FORMATS)
