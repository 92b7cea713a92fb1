"""The documentation as HTML; it needs pdoc, which `make docs` installs."""

import os
import re

import forks
import pytest

import partial_embed as pe

pytest.importorskip("pdoc")


def test_every_page_and_every_public_name(scripts, tmp_path):
    found = forks.run(os.path.join(scripts, "make_docs.py"), str(tmp_path))
    assert found.returncode == 0, found.stderr
    docs = os.path.join(os.path.dirname(scripts), "docs")
    pages = [name[:-3] for name in os.listdir(docs) if name.endswith(".md")]
    for name in ["index", *pages]:
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        for to in re.findall(r'(?:href|src)="([^"#]+)', text):
            assert (tmp_path / to).exists(), (name, to)
        assert f'href="{name}.html"' in text and "](" not in re.sub(r"(?s)<pre>.*?</pre>", "", text)
    reference = (tmp_path / "partial_embed.html").read_text(encoding="utf-8")
    for name in set(pe.__all__) - {"row_init"}:
        assert f'id="{name}"' in reference
    for name in ("lookup", "matmul", "assign", "softmax_cross_entropy"):
        assert f'id="PartialEmbedding.{name}"' in reference
    assert "AutoTrackable" not in reference  # in what TensorFlow says of its own Saver
