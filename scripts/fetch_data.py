"""Fetches public data out of packages, which are downloaded but neither installed nor imported.

  umls      a knowledge graph of 135 entities, 46 relations and 6529 triples
  ml-100k   100,000 ratings of films, which its terms let you use, and not pass on
  wordnet   versions 3.0 and 3.1, with apt-get and npm; the others with pip

What is there already is not fetched again.

  python scripts/fetch_data.py --data_dir=data umls ml-100k

Printed are the directories, such as data/umls.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from typing import Dict, NamedTuple

import wordnet
from absl import app, flags


class Wheel(NamedTuple):
    """What is taken out of which wheel: a dict of a file's name here to its name there."""

    requirement: str
    file: str
    sha256: str
    members: Dict[str, str]


# Licences ask to stay with what they cover.
SOURCES = {
    "umls": Wheel(
        "pykeen==1.11.1",
        "pykeen-1.11.1-py3-none-any.whl",
        "b6cc0ab012fc6ba4f37b58fb7081a409a5c1f04cbbb0e0e9c2256e911757d4ba",
        {
            "train.txt": "pykeen/datasets/umls/train.txt",
            "valid.txt": "pykeen/datasets/umls/valid.txt",
            "test.txt": "pykeen/datasets/umls/test.txt",
            "LICENSE": "pykeen-1.11.1.dist-info/licenses/LICENSE",
        },
    ),
    "ml-100k": Wheel(
        "recbole==1.2.1",
        "recbole-1.2.1-py3-none-any.whl",
        "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        {
            "ratings.tsv": "recbole/dataset_example/ml-100k/ml-100k.inter",
            "LICENSE": "recbole-1.2.1.dist-info/LICENSE",
        },
    ),
}


def fetch(data_dir, name="umls"):
    """Makes sure that some data is there, and returns its directory.

    Args:
      data_dir: the directory for the wheel and, in `name`, for what is taken out of it.
      name: one of `SOURCES`.
    """
    source = SOURCES[name]
    directory = os.path.join(data_dir, name)
    if all(os.path.exists(os.path.join(directory, file)) for file in source.members):
        return directory
    wheel = os.path.join(data_dir, source.file)
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(wheel):
        _download(data_dir, source)
    _check(wheel, source)
    with zipfile.ZipFile(wheel) as archive:
        for file, member in source.members.items():
            path = os.path.join(directory, file)
            with open(path + ".part", "wb") as stream:
                stream.write(archive.read(member))
            os.replace(path + ".part", path)
    return directory


def _download(data_dir, source):
    # The version that this Python could run does not matter, as nothing of it is run.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    command += ["--dest", data_dir, source.requirement]
    result = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        raise OSError(
            f"pip could not download {source.requirement}: {' '.join(result.stdout.split())} Or "
            f"put {source.file} into {data_dir} yourself."
        )


def _check(wheel, source):
    with open(wheel, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != source.sha256:
        raise ValueError(
            f"{wheel} is not the file that was expected: its SHA-256 is {found}, not "
            f"{source.sha256}. Delete it and try again."
        )


def main(arguments):
    names = arguments[1:] or ["umls"]
    try:
        for name in names:
            if name not in SOURCES and name != "wordnet":
                raise ValueError(f"{name} is none of {', '.join(SOURCES)}, wordnet.")
        for name in names:
            if name == "wordnet":
                for version in wordnet.SOURCES:
                    print(wordnet.fetch(flags.FLAGS.data_dir, version))
            else:
                print(fetch(flags.FLAGS.data_dir, name))
    except (ValueError, OSError) as error:
        print(f"fetch_data: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", "data", "Where the data is put.")
    app.run(main)
