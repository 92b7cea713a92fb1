"""What the suite came to on each TensorFlow: a row for each environment, from pytest's own results.

    python tests/versions.py .venv-tf1 .venv-2.4 .venv

`make test-all` prints it; pytest left the results as `suite.xml` in each environment.
"""

import os
import subprocess
import sys
from xml.etree import ElementTree

VERSIONS = """
import platform, numpy, tensorflow.compat.v1 as tf
print(tf.__version__, platform.python_version(), numpy.__version__)
"""
COLUMNS = ["TensorFlow", "Python", "numpy", "passed", "skipped", "failed"]


def row(environment):
    """Returns what stands in the columns for an environment, its name alone if it was not run."""
    results = os.path.join(environment, "suite.xml")
    if not os.path.exists(results):
        return [environment, "not run"]
    python = os.path.join(environment, "bin", "python")
    versions = subprocess.check_output([python, "-c", VERSIONS], stderr=subprocess.DEVNULL).split()
    counts = {"tests": 0, "skipped": 0, "failures": 0, "errors": 0}
    for suite in ElementTree.parse(results).getroot().iter("testsuite"):
        counts = {name: count + int(suite.get(name)) for name, count in counts.items()}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - counts["skipped"] - failed
    return [text.decode() for text in versions] + [passed, counts["skipped"], failed]


def main(environments):
    for cells in [COLUMNS, *map(row, environments)]:
        print("  ".join(str(cell).ljust(11) for cell in cells).rstrip())


if __name__ == "__main__":
    main(sys.argv[1:])
