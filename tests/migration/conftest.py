"""What is found in small scripts."""

import textwrap

import pytest

from partial_embed.migration.check import check_script
from partial_embed.migration.findings import HEADINGS

IMPORTS = {
    "plain": "import tensorflow as tf\n",
    "compat": "import tensorflow.compat.v1 as tf\nimport numpy as np\n",
}


@pytest.fixture
def check():
    """Returns `check(source, imports="compat")`: findings, whose lines are those of the source."""

    def check(source, imports="compat"):
        top = IMPORTS[imports]
        found = check_script(top + textwrap.dedent(source).strip("\n") + "\n", "script.py")
        assert {its.heading for its in found} <= HEADINGS
        return [its._replace(line=its.line - top.count("\n")) for its in found]

    return check


@pytest.fixture
def said(check):
    """Returns `said(source)`: {(line, kind, heading)} of what is found."""

    def said(source, imports="compat"):
        return {(its.line, its.kind, its.heading) for its in check(source, imports)}

    return said
