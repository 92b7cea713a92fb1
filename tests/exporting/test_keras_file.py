"""`.keras` files: Keras loads them, and what Keras saved comes back by name."""

import json
import os
import zipfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

HAS_KERAS_3 = getattr(tf.keras, "__version__", "2").startswith("3")
needs_keras = pytest.mark.skipif(not HAS_KERAS_3, reason="This TensorFlow has no Keras 3.")


@pytest.mark.skipif(HAS_KERAS_3, reason="This TensorFlow has Keras 3.")
def test_refused_where_keras_is_older(write_checkpoint, folder):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    with pytest.raises(ValueError, match="TensorFlow 2.16|Install keras>=3"):
        pe.export(prefix, folder("e.keras"))
    assert not os.path.exists(folder("e.keras"))


@needs_keras
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_keras_loads_one_table(native, write_checkpoint, folder, random, dtype):
    rows = random.randn(5, 3).astype(tf.as_dtype(dtype).as_numpy_dtype)
    prefix = write_checkpoint({"model/ent": rows})
    path = pe.export(prefix, folder("e.keras")).output
    answer = native("keras", path, ids=[[4, 0], [1, 1]])
    assert answer["dtypes"] == {"model_ent": dtype}
    assert answer["weights"] == {"model_ent": rows.astype(float).tolist()}
    assert answer["rows"] == rows.astype(float)[np.array([[4, 0], [1, 1]])].tolist()


@needs_keras
def test_keras_loads_several(native, write_checkpoint, folder, random):
    tables = {"a": random.randn(1, 1).astype("f"), "b/c": random.randn(4, 3), "d": np.ones([2, 2])}
    prefix = write_checkpoint(tables)
    path = pe.export(prefix, folder("e.keras"), names={"d": "e"}).output
    answer = native("keras", path, ids=[[0]])
    expected = {"a": tables["a"], "b_c": tables["b/c"], "e": tables["d"]}
    assert answer["weights"] == {n: table.astype(float).tolist() for n, table in expected.items()}
    with pytest.raises(ValueError, match="without it two of b_c, b/c have the same"):
        pe.export(prefix, folder("f.keras"), names={"d": "b_c"}, tables=["d", "b/c"])


@needs_keras
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_there_and_back_again(read_checkpoint, write_checkpoint, folder, random, dtype):
    dtype = tf.as_dtype(dtype).as_numpy_dtype
    tables = {"model/ent": random.randn(5, 3).astype(dtype), "b": random.randn(1, 1).astype(dtype)}
    prefix = write_checkpoint(tables)
    pe.export(prefix, folder("e.keras"))
    pe.export(folder("e.keras"), folder("back"), "checkpoint")
    found = read_checkpoint(folder("back"))
    assert {n: its.tobytes() for n, its in found.items()} == {
        n: its.tobytes() for n, its in tables.items()
    }
    assert {its.dtype for its in found.values()} == {np.dtype(dtype)}


@needs_keras
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_keras_saved_comes_back(native, read_checkpoint, folder, dtype):
    words = native("keras_save", folder("own.keras"), dtype=dtype)["words"]
    written = pe.export(folder("own.keras"), folder("back"), "checkpoint")
    found = read_checkpoint(written.output)
    assert sorted(found) == ["scores/0", "scores/1", "words"]  # and nothing of Adam
    assert found["words"].astype(float).tolist() == words
    assert found["words"].dtype == tf.as_dtype(dtype).as_numpy_dtype
    written = pe.export(folder("own.keras"), folder("words.safetensors"), tables="words")
    assert written.tables == {"words": f"[5, 3] {dtype}"}


def change(path, change_weights=None, **members):
    """Writes a .keras file anew, with other members."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    if change_weights:
        with open(path + ".h5", "wb") as stream:
            stream.write(content["model.weights.h5"])
        import h5py

        with h5py.File(path + ".h5", "r+") as file:
            change_weights(h5py, file)
        with open(path + ".h5", "rb") as stream:
            content["model.weights.h5"] = stream.read()
    content.update({name.replace("__", "."): text for name, text in members.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            if text is not None:
                archive.writestr(name, text)


def point_outside(h5py, file):
    del file["layers/embedding/vars/0"]
    file["layers/embedding/vars/0"] = h5py.ExternalLink("/etc/passwd", "/secret")


def store_outside(h5py, file):
    del file["layers/embedding/vars/0"]
    group = file["layers/embedding/vars"]
    group.create_dataset("0", (2, 2), "f", external=[("/etc/hostname", 0, 16)])


def claim_much(h5py, file):
    del file["layers/embedding/vars/0"]
    file["layers/embedding/vars"].create_dataset("0", (1 << 40, 2), "f")


@needs_keras
@pytest.mark.parametrize(
    "what, match",
    [
        (dict(change_weights=point_outside), "points to another place"),
        (dict(change_weights=store_outside), "points to another place"),
        (dict(change_weights=claim_much), "0 bytes that unpack to 8796093022208"),
        (dict(model__weights__h5=b"no weights"), "is damaged"),
        (dict(model__weights__h5=None), "is no .keras file"),
        (dict(metadata__json=None), "is no .keras file"),
    ],
)
def test_hostile_and_damaged_files(write_checkpoint, folder, what, match):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    path = pe.export(prefix, folder("e.keras")).output
    change(path, **what)
    with pytest.raises(ValueError, match=match):
        pe.export(path, folder("back"), "checkpoint")
    assert not os.path.exists(folder("back.index"))


@needs_keras
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"partial_embed_layers": [1]}'])
def test_names_that_nobody_noted_are_those_of_layers(write_checkpoint, folder, text):
    prefix = write_checkpoint({"m/e": np.ones([2, 2], "f")})
    path = pe.export(prefix, folder("e.keras")).output
    change(path, metadata__json=text)
    assert list(pe.export(path, folder("back"), "checkpoint").tables) == ["m_e"]


@needs_keras
def test_weights_that_are_packed_too_well(write_checkpoint, folder):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    path = pe.export(prefix, folder("e.keras")).output
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", bytes(20 << 20))
    with pytest.raises(ValueError, match="bytes that unpack to 20971520"):
        pe.export(path, folder("back"), "checkpoint")


def test_no_zip_at_all(folder):
    with open(folder("e.keras"), "w") as stream:
        stream.write(json.dumps({}))
    with pytest.raises(ValueError, match="is no .keras file of Keras 3"):
        pe.export(folder("e.keras"), folder("back"), "checkpoint")
