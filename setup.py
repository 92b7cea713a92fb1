"""Packaging. `pip install .`, or with what the demo or the tests need: `pip install .[demo]`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "partial_embed" / "__init__.py").read_text(encoding="utf-8")
).group(1)

setup(
    name="partial_embed",
    version=VERSION,
    description="Let a trained TensorFlow embedding table gain rows, and train only those",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["partial_embed", "partial_embed.*"]),
    python_requires=">=3.7",
    # docs/versions.md: what was tried. 2.0 has no tf.repeat in tensorflow.compat.v1.
    install_requires=["tensorflow>=1.15,!=2.0.*", "numpy", "absl-py"],
    entry_points={"console_scripts": ["partial-embed = partial_embed.command.main:main"]},
    extras_require={
        "demo": ["matplotlib"],
        "test": ["pytest", "pytest-xdist", "hypothesis", "matplotlib"],
        "docs": ["pdoc>=14", "markdown2"],
        "quality": ["ruff==0.17.6"],  # another one may find other things
    },
)
