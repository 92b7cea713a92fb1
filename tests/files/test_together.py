"""Tensors written together, and copies beside them: nothing is published that was not verified."""

import functools
import weakref

import numpy as np
import pytest

from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.publish import publish, staging
from partial_embed.files.stored_bytes import StoredBytes
from partial_embed.files.tensors import write_part
from partial_embed.files.together import Together

VALUES = np.arange(12, dtype=np.float32).reshape([6, 2])


@pytest.fixture
def copied(tmp_path):
    """Returns `copied(meanwhile)`: what a copy of "ent" holds when its block has ended.

    `meanwhile` is called when bytes have been copied, and nobody has verified them yet.
    """
    base, prefix = str(tmp_path / "base"), str(tmp_path / "copy")
    write_part(base, [("ent", "", VALUES)])

    def copied(meanwhile=lambda: None):
        checkpoint = Checkpoint(base)
        its = StoredBytes(checkpoint, "ent")

        def copy():
            is_done = its.copy(part, "ent", "", [6, 2])
            meanwhile()
            return is_done

        with staging(prefix) as stage:
            with Together(stage) as together:
                part = stage.part()
                write = lambda: write_part(part, [("ent", "", checkpoint.read("ent"))])  # noqa: E731
                together.copy(its, copy, write)
                together._copies[0][0].result()
                together.write("other", "", VALUES[0])
            publish(stage)
        assert (Checkpoint(prefix).read("other") == VALUES[0]).all()
        return Checkpoint(prefix).read("ent")

    return copied


def damage(path, how):
    with open(path, "r+b") as stream:
        content = stream.read()
        stream.seek(0)
        stream.write(how(content))


def test_a_copy(copied):
    assert (copied() == VALUES).all()


def test_what_is_damaged_is_not_published(copied, tmp_path):
    data = str(tmp_path / "base.data-00000-of-00001")
    damage(data, lambda content: b"x" + content[1:])
    with pytest.raises(ValueError, match="base cannot be read: .* It is damaged or incomplete"):
        copied()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("copy")]


def test_damage_that_is_mended_before_it_is_verified(copied, tmp_path):
    """What was copied was damaged, what TensorFlow reads is not: it is written by reading."""
    data = str(tmp_path / "base.data-00000-of-00001")
    damage(data, lambda content: b"x" + content[1:])
    mended = lambda: damage(data, lambda content: VALUES.tobytes())  # noqa: E731
    assert (copied(mended) == VALUES).all()


def test_what_is_replaced_before_it_is_verified(copied, tmp_path):
    others = lambda: write_part(str(tmp_path / "base"), [("ent", "", VALUES + 1)])  # noqa: E731
    assert (copied(others) == VALUES + 1).all()  # as it stands; who asked for it compares


def test_what_could_write_copies_instead_is_not_kept(tmp_path):
    """Of many copies two at most: each holds what it would write."""
    write_part(str(tmp_path / "base"), [("ent", "", VALUES)])
    its = StoredBytes(Checkpoint(str(tmp_path / "base")), "ent")
    kept = []
    with staging(str(tmp_path / "copies")) as stage:
        with Together(stage) as together:
            for number in range(5):
                copy = functools.partial(its.copy, stage.part(), f"ent{number}", "", [6, 2])
                write = lambda: None  # noqa: E731
                kept.append(weakref.ref(write))
                together.copy(its, copy, write)
                del write
                assert sum(ref() is not None for ref in kept) <= 2
        publish(stage)
    copies = Checkpoint(str(tmp_path / "copies"))
    assert all((copies.read(f"ent{number}") == VALUES).all() for number in range(5))
