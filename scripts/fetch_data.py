"""Fetches UMLS, a knowledge graph of 135 entities, 46 relations and 6529 triples.

The files come out of the wheel of PyKEEN, which is downloaded with pip but neither installed nor
imported. What is there already is not fetched again.

  python scripts/fetch_data.py --data_dir=data

Printed is the directory, data/umls, of train.txt, valid.txt and test.txt; train.py reads it.
"""

import hashlib
import os
import subprocess
import sys
import zipfile

from absl import app, flags

REQUIREMENT = "pykeen==1.11.1"
WHEEL = "pykeen-1.11.1-py3-none-any.whl"
SHA256 = "b6cc0ab012fc6ba4f37b58fb7081a409a5c1f04cbbb0e0e9c2256e911757d4ba"
# The licence, MIT, asks to stay with what it covers.
MEMBERS = {
    "train.txt": "pykeen/datasets/umls/train.txt",
    "valid.txt": "pykeen/datasets/umls/valid.txt",
    "test.txt": "pykeen/datasets/umls/test.txt",
    "LICENSE": "pykeen-1.11.1.dist-info/licenses/LICENSE",
}


def fetch(data_dir):
    """Makes sure that UMLS is there, and returns its directory.

    Args:
      data_dir: the directory for the wheel and, in `umls`, for what is taken out of it.
    """
    directory = os.path.join(data_dir, "umls")
    if all(os.path.exists(os.path.join(directory, name)) for name in MEMBERS):
        return directory
    wheel = os.path.join(data_dir, WHEEL)
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(wheel):
        _download(data_dir)
    _check(wheel)
    with zipfile.ZipFile(wheel) as archive:
        for name, member in MEMBERS.items():
            path = os.path.join(directory, name)
            with open(path + ".part", "wb") as file:
                file.write(archive.read(member))
            os.replace(path + ".part", path)
    return directory


def _download(data_dir):
    # The version that this Python could run does not matter, as nothing of it is run.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    command += ["--dest", data_dir, REQUIREMENT]
    result = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        raise OSError(
            f"pip could not download {REQUIREMENT}: {' '.join(result.stdout.split())} Or put "
            f"{WHEEL} into {data_dir} yourself."
        )


def _check(wheel):
    with open(wheel, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{wheel} is not the file that was expected: its SHA-256 is {found}, not {SHA256}. "
            "Delete it and try again."
        )


def main(arguments):
    del arguments
    try:
        print(fetch(flags.FLAGS.data_dir))
    except (ValueError, OSError) as error:
        print(f"fetch_data: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", "data", "Where the data is put.")
    app.run(main)
