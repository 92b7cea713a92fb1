"""What is exported, what is refused, and that what is written is whole or is not there."""

import os
import resource
import signal
import sys
import time

import forks
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_model import Model, train_base

import partial_embed as pe
from partial_embed.exporting import npy, saved_model
from partial_embed.files.lock import try_lock

HERE = os.path.dirname(os.path.abspath(__file__))
STAGE = ".partial_embed-exporting-"


def listing(folder):
    """{path: bytes} of all that stands in a directory."""
    found = {}
    for place, _, names in os.walk(str(folder)):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, str(folder))] = stream.read()
    return found


@pytest.fixture
def refuses(tmp_path):
    """Returns `refuses(match, source, output, ...)`: an export that fails, and writes nothing."""

    def refuses(match, source, output, *arguments, **keywords):
        before = listing(tmp_path)
        with pytest.raises(keywords.pop("error", ValueError), match=match):
            pe.export(source, output, *arguments, **keywords)
        assert listing(tmp_path) == before
        assert not [name for name in os.listdir(str(tmp_path)) if name.startswith(STAGE)]

    return refuses


def exported(prefix, folder, *arguments, **keywords):
    return pe.export(prefix, folder("e.npy"), *arguments, **keywords).tables


def tables_of(prefix, folder, **keywords):
    return pe.export(prefix, folder("all.safetensors"), **keywords).tables


def test_tables_are_what_is_no_optimizers(folder, data):
    prefix, _ = train_base(folder("base"), "Adam", average=True)
    assert sorted(tables_of(prefix, folder)) == ["model/W", "model/ent"]
    for name in ("v2_adam", "v1_adam", "v2_sliced_adam", "v2_resource"):
        assert tables_of(data(name), folder) == {
            "embedding": "[1000, 16] float32",
            "weight": "[16, 2] float32",
        }


def test_integers_lines_and_numbers_are_no_tables_unless_asked_for(folder, write_checkpoint):
    tensors = {"e": np.ones([2, 2], "f"), "ids": np.ones([2, 2], int), "bias": np.ones(2, "f")}
    prefix = write_checkpoint(dict(tensors, step=np.int64(1)))
    assert list(tables_of(prefix, folder)) == ["e"]
    assert list(tables_of(prefix, folder, tables=["ids", "step"])) == ["ids", "step"]
    assert list(tables_of(prefix, folder, tables="bias", names={"bias": "b"})) == ["b"]


def test_a_table_below_anothers_name_is_no_slot_if_its_shape_is_another(folder, write_checkpoint):
    tensors = {"emb": np.ones([5, 2], "f"), "emb/user": np.ones([3, 2], "f")}
    prefix = write_checkpoint(dict(tensors, **{"emb/Adam": np.ones([5, 2], "f")}))
    assert list(tables_of(prefix, folder)) == ["emb", "emb/user"]


def test_slots_are_called_after_their_variables(folder, write_checkpoint):
    rows = {name: np.full([2, 2], number, "f") for number, name in enumerate(["m/a", "m/b"])}
    slots = {
        f"{scope}{name}/Adam": value + 5 for name, value in rows.items() for scope in ("", "m/")
    }
    prefix, names = write_checkpoint(dict(rows, **slots)), {"m/a": "m/b", "m/b": "c"}
    pe.export(prefix, folder("by_name"), "checkpoint", names=names)
    held = tf.train.load_checkpoint(folder("by_name"))
    wanted = {"m/b": 0, "m/b/Adam": 5, "m/m/b/Adam": 5, "c": 1, "c/Adam": 6, "m/c/Adam": 6}
    assert {n: held.get_tensor(n)[0, 0] for n in held.get_variable_to_shape_map()} == wanted
    pe.export(prefix, folder("one"), "checkpoint", names=dict(names, **{"m/a/Adam": "x"}))
    assert tf.train.load_checkpoint(folder("one")).get_tensor("x")[0, 0] == 5


def test_a_live_session(folder, write_checkpoint):
    prefix, _ = train_base(folder("base"))
    with tf.Graph().as_default(), tf.Session() as session:
        model = Model(9, checkpoint=prefix, show=None)
        session.run(tf.global_variables_initializer())
        model.train(session)
        pe.export(session, folder("e.npy"), tables="model/ent")
        assert np.load(folder("e.npy")).tobytes() == session.run(model.table).tobytes()
        model.train(session)
        pe.export(session, folder("e.npy"), tables="model/ent")
        assert np.load(folder("e.npy")).tobytes() == session.run(model.table).tobytes()
        with pytest.raises(ValueError, match="^the session holds no tensor 'ent'"):
            pe.export(session, folder("f.npy"), tables="ent")
        tf.get_default_graph().finalize()
        with pytest.raises(ValueError, match="is finalized, and takes no Saver"):
            pe.export(session, folder("f.npy"))
    empty = tf.Session(graph=tf.Graph())
    with empty, pytest.raises(ValueError, match="has no variables"):
        pe.export(empty, folder("f.npy"))
    assert not [
        name for name in os.listdir(folder("")) if name.startswith((STAGE, "f.", "session"))
    ]


# --- what is refused ---------------------------------------------------------------------------


def test_a_delta_is_refused(folder, refuses):
    prefix, _ = train_base(folder("base"))
    with tf.Graph().as_default(), tf.Session() as session:
        Model(9, checkpoint=prefix, show=None)
        session.run(tf.global_variables_initializer())
        delta = pe.Saver(delta=True).save(session, folder("delta"))
    for output in ("e.npy", "e.vec"):
        refuses("is a delta: .*merge_checkpoint", delta, folder(output))
    refuses("is a delta: .*merge_checkpoint", delta, folder("objects"), "object")


def test_formats_that_are_not_clear(folder, write_checkpoint, refuses):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    refuses("does not say which format .* saved_model, object, keras", prefix, folder("e"))
    refuses("There is no format 'numpy'; there are", prefix, folder("e.npy"), "numpy")
    refuses("has the ending of npy, and safetensors", prefix, folder("e.npy"), "safetensors")
    refuses("which word2vec format", prefix, folder("e.w2v"), "word2vec")
    refuses("unknown_keys must be", prefix, folder("e.npy"), unknown_keys="none")
    zeros = dict(unknown_keys="zeros")
    refuses("'zeros' is for a saved_model with", prefix, folder("e"), "saved_model", **zeros)
    refuses("'zeros' is for", prefix, folder("e.npy"), vocabularies=["a", "b"], **zeros)
    pe.export(prefix, folder("e.array"), "npy")
    assert np.load(folder("e.array")).shape == (2, 2)


def test_tables_that_a_format_cannot_hold(folder, write_checkpoint, refuses):
    two = write_checkpoint({"a": np.ones([2, 2], "f"), "b": np.ones([3, 2], "f")}, "two")
    for output in ("e.npy", "e.vec", "e.bin"):
        refuses("holds one table, and .* has 2: .*a.*Name the one", two, folder(output))
        refuses("holds one table", two, folder(output), tables=["a", "b"])
    kinds = {
        "double": np.ones([2, 2]),
        "ints": np.ones([2, 2], "i"),
        "brain": np.ones([2, 2], tf.bfloat16.as_numpy_dtype),
        "cube": np.ones([2, 2, 2], "f"),
        "bias": np.ones([2], "f"),
        "number": np.float32(1),
        "text": np.array([["a"]], object),
        "none": np.ones([0, 2], "f"),
    }
    prefix = write_checkpoint(kinds, "kinds")
    refused = [
        ("e.vec", None, ["double", "ints", "cube", "bias", "number", "text"]),
        ("e.npy", None, ["brain", "text"]),
        ("projector", "projector", ["double", "ints", "cube", "bias", "number", "text"]),
        ("served", "saved_model", ["number", "text"]),
        ("objects", "object", ["text"]),
        ("e.safetensors", None, ["text"]),
        ("e.keras", None, ["ints", "cube", "bias", "number", "text", "none"]),
    ]
    for output, format, names in refused:
        for name in names:
            refuses("cannot be exported: ", prefix, folder(output), format, tables=name)
    refuses(
        "holds no table: .*It holds text",
        write_checkpoint({"text": kinds["text"]}),
        folder("e.npy"),
    )


def test_names_that_are_not_there(folder, write_checkpoint, refuses):
    prefix = write_checkpoint({"model/ent": np.ones([2, 2], "f"), "b": np.ones([3, 2], "f")})
    output = folder("e.safetensors")
    refuses("holds no tensor 'ent'. It holds: model/ent", prefix, output, tables="ent")
    refuses("holds no tensor 'ent'", prefix, output, names={"ent": "e"})
    refuses("expected one name at least", prefix, output, tables=[])
    refuses("none of them twice", prefix, output, tables=["b", "b"])
    refuses("gives two tensors one name", prefix, output, names={"b": "model/ent"})
    refuses("keeps the name __metadata__", prefix, output, names={"b": "__metadata__"})
    refuses("which is not exported", prefix, output, tables="b", names={"model/ent": "e"})
    refuses("names= gives b no name", prefix, folder("by_name"), "checkpoint", names={"b": ""})
    refuses("names= gives b no name", prefix, output, names={"b": None})
    refuses("No checkpoint at", folder("nothing"), output)
    refuses("path is None", None, output)
    refuses("source is a checkpoint's path", 5, output, error=TypeError)
    refuses("a path or a list", prefix, output, vocabularies=5, error=TypeError)
    for path in ("", "gs://bucket/e.npy"):
        refuses("is no local path", prefix, path, "npy")


def test_slices_that_are_missing(folder, write_checkpoint, refuses):
    prefix, _ = train_base(folder("base"), "Adagrad")
    with tf.Graph().as_default(), tf.Session() as session:
        Model(9, "Adagrad", prefix, show=None)
        session.run(tf.global_variables_initializer())
        cut = tf.train.Saver().save(session, folder("cut"))
    refuses("holds only a part of", cut, folder("e.npy"), tables="model/ent/Adagrad")
    assert exported(cut, folder, tables="model/ent") == {"model/ent": "[9, 4] float32"}


FORMATS = [
    ("e.npy", None),
    ("e.safetensors", None),
    ("e.vec", None),
    ("e.bin", None),
    ("projector", "projector"),
    ("served", "saved_model"),
    ("objects", "object"),
    ("by_name", "checkpoint"),
]
if getattr(tf.keras, "__version__", "2").startswith("3"):
    FORMATS.append(("e.keras", None))


@pytest.mark.parametrize("output, format", FORMATS)
def test_rows_that_are_not_finite(folder, write_checkpoint, refuses, output, format):
    values = np.ones([3, 2], "f")
    values[1, 1], values[2, 0] = np.nan, -np.inf
    prefix = write_checkpoint({"e": values})
    match = r"e of .*(rows \[1, 2\] hold NaN or Inf|with NaN or Inf(.|\n)*\[1 2\])"
    refuses(match, prefix, folder(output), format)
    pe.export(prefix, folder(output), format, allow_nonfinite=True)
    assert os.path.exists(folder(output)) or os.path.exists(folder(output + ".index"))


@pytest.mark.parametrize("output, format", FORMATS)
def test_a_damaged_checkpoint(folder, write_checkpoint, refuses, output, format):
    prefix = write_checkpoint({"e": np.ones([30, 20], "f")})
    with open(prefix + ".data-00000-of-00001", "r+b") as stream:
        stream.truncate(100)
    refuses(f"The checkpoint {prefix} cannot be read: ", prefix, folder(output), format)


# --- keys ----------------------------------------------------------------------------------------


def keys_in(folder, prefix, **keywords):
    pe.export(prefix, folder("e.vec"), **keywords)
    with open(folder("e.vec"), encoding="utf-8") as stream:
        return [line.split(" ")[0] for line in stream][1:]


def write_lines(path, *lines):
    with open(path, "w", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines)
    return path


def test_where_keys_come_from(folder, write_checkpoint):
    prefix = write_checkpoint({"e": np.ones([3, 2], "f")})
    assert keys_in(folder, prefix) == ["0", "1", "2"]
    beside = write_lines(prefix + ".vocabulary.txt", "a", "b", "c")
    assert keys_in(folder, prefix) == ["a", "b", "c"]
    assert keys_in(folder, prefix, vocabularies=["x", "y", "z"]) == ["x", "y", "z"]
    assert keys_in(folder, prefix, vocabularies={"e": beside}) == ["a", "b", "c"]
    assert keys_in(folder, prefix, vocabularies=os.fsencode(beside)) == ["a", "b", "c"]
    both = pe.align_vocabularies(["a", "b"], ["c", "b", "a"])
    assert keys_in(folder, prefix, vocabularies={"*": both}) == ["c", "b", "a"]
    assert keys_in(folder, prefix, vocabularies={}) == ["0", "1", "2"]
    write_lines(beside, "a", "b")
    assert keys_in(folder, prefix) == ["0", "1", "2"]


def test_vocabularies_that_do_not_fit(folder, write_checkpoint, refuses):
    prefix = write_checkpoint({"e": np.ones([3, 2], "f")})
    output = folder("e.vec")
    for keys in (["a"], list("abcd"), (["a"], 1)):
        refuses("for \\* fits no table", prefix, output, vocabularies=keys)
        refuses("The vocabulary of e has", prefix, output, vocabularies={"e": keys})
    refuses("for x\\* fits no table", prefix, output, vocabularies={"x*": list("abc")})
    refuses("is empty; expected", prefix, output, vocabularies=write_lines(folder("none")))
    refuses("There is no vocabulary", prefix, output, vocabularies=folder("gone"))
    refuses("texts that are not empty", prefix, output, vocabularies=[])
    refuses("holds .a. more than once", prefix, output, vocabularies=["a", "b", "a"])
    taken = (["a", "<out-of-vocabulary-0>"], 1)
    refuses("is what the row for keys out of", prefix, output, vocabularies=taken)
    for key in ("a b", "a\tb"):
        keys = ["a", "b", key]
        refuses("The key .*a.* of e holds white space", prefix, output, vocabularies=keys)
    refuses("white space", prefix, folder("p"), "projector", vocabularies=keys)
    for key in ("a\nb", "a\r"):
        keys = ["a", "b", key]
        refuses("one that is no line of a vocabulary file", prefix, output, vocabularies=keys)
    keys = folder("returns")
    for key, message in ((b"a\rc", "holds the end of a line"), (b"a\r\r", "several carriage")):
        with open(keys, "wb") as stream:
            stream.write(b"a\nb\n" + key + b"\n")
        refuses(message, prefix, folder("s"), "saved_model", vocabularies=keys)


def test_keys_that_the_growth_record_denies(folder, write_checkpoint, refuses):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    with tf.Graph().as_default(), tf.Session() as session:
        pe.get_embedding("e", [3, 2], checkpoint=prefix, vocabulary=(["a", "b"], ["a", "b", "c"]))
        tf.get_variable("f", [3, 2])
        session.run(tf.global_variables_initializer())
        grown = pe.Saver().save(session, folder("grown"))
    output = folder("e.vec")
    for keys in (["a", "c", "b"], {"*": ["a", "c", "b"]}):
        refuses("are of other keys, or", grown, output, tables="e", vocabularies=keys)
    other = {"e": ["a", "c", "b"]}
    refuses("are of other keys, or in another order", grown, output, tables="e", vocabularies=other)
    assert keys_in(folder, grown, tables="e", vocabularies=["a", "b", "c"]) == ["a", "b", "c"]
    write_lines(grown + ".vocabulary.txt", "c", "b", "a")
    assert keys_in(folder, grown, tables="e") == ["0", "1", "2"]
    assert keys_in(folder, grown, tables="f") == ["c", "b", "a"]


def test_keys_of_another_checkpoint_do_not_stand_beside_what_is_written(
    folder, write_checkpoint, refuses
):
    prefix = write_checkpoint({"a": np.ones([2, 2], "f"), "b": np.ones([2, 2], "f")})
    output = folder("objects")
    pe.export(prefix, output, "object", vocabularies=["x", "y"])
    match = "objects.vocabulary.txt would stand beside"
    refuses(match, prefix, output, "object", error=ValueError)
    both = {"a": ["x", "y"], "b": ["y", "x"]}
    refuses(match, prefix, output, "checkpoint", vocabularies=both)
    pe.export(prefix, output, "object", vocabularies=["y", "x"])
    with open(output + ".vocabulary.txt") as stream:
        assert stream.read() == "y\nx\n"


# --- whole or not there --------------------------------------------------------------------------


def test_what_stands_there(folder, write_checkpoint, refuses):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    write_lines(folder("file.npy"), "old")
    pe.export(prefix, folder("file.npy"))
    assert np.load(folder("file.npy")).shape == (2, 2)
    os.symlink(folder("file.npy"), folder("link.npy"))
    pe.export(prefix, folder("link.npy"))
    assert not os.path.islink(folder("link.npy"))  # replaced, and not what it points to
    os.makedirs(folder("full", "of"))
    for format in ("saved_model", "projector"):
        refuses("a directory that is not empty", prefix, folder("full"), format)
        refuses("is a file, and a directory", prefix, folder("file.npy", "..", "link.npy"), format)
        os.mkdir(folder("empty-" + format))
        pe.export(prefix, folder("empty-" + format), format)
        assert os.listdir(folder("empty-" + format))
        refuses("a directory that is not empty", prefix, folder("empty-" + format), format)
        pe.export(prefix, folder("made", "for", format), format)
    refuses("is a directory, and a file", prefix, folder("full"), "npy")
    os.mkfifo(folder("pipe.npy"))
    with pytest.raises(ValueError, match="a pipe or a device"):
        pe.export(prefix, folder("pipe.npy"))


def test_the_source_is_not_replaced(folder, write_checkpoint, data, refuses):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    for output, format in [
        (prefix, "object"),
        (prefix, "checkpoint"),
        (prefix, "npy"),
        (prefix + ".index", "npy"),
        (prefix + ".data-00000-of-00001", "safetensors"),
    ]:
        refuses("is what is exported, and would be replaced", prefix, output, format)


@pytest.mark.parametrize("output, format", FORMATS)
def test_a_place_that_cannot_be_written(folder, write_checkpoint, output, format):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    write_lines(folder("file"), "x")
    with pytest.raises(OSError, match="failed: .*[Nn]othing was"):
        pe.export(prefix, folder("file", output), format)


@pytest.mark.parametrize("output, format", FORMATS)
def test_a_disk_that_is_full(folder, write_checkpoint, refuses, output, format):
    prefix = write_checkpoint({"e": np.ones([5000, 8], "f")})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limit[1]))
        refuses("failed: .*[Nn]othing was", prefix, folder(output), format, error=OSError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), StoppedError()])
def test_a_failure_in_the_middle_leaves_what_stood_there(
    folder, write_checkpoint, monkeypatch, error
):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    pe.export(prefix, folder("e.npy"))
    before = listing(folder(""))

    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(npy.np, "save", fail)
    monkeypatch.setattr(saved_model, "_forget_debug_names", fail)
    with pytest.raises(type(error)):
        pe.export(prefix, folder("e.npy"))
    with pytest.raises(type(error)):
        pe.export(prefix, folder("served"), "saved_model")
    assert listing(folder("")) == before and not os.path.exists(folder("served"))


@pytest.mark.parametrize(
    "output, format", [("e.vec", ""), ("served", "saved_model"), ("o", "object")]
)
def test_killed_in_the_middle(folder, write_checkpoint, output, format):
    """Nothing stands there; the next export removes what was left, and nobody else's."""
    prefix = write_checkpoint({"e": np.ones([2000, 8], "f")})
    worker = os.path.join(HERE, "export_worker.py")
    script = forks.Script([worker, prefix, folder(output), format])
    last = time.time() + 60
    while time.time() < last and not os.path.exists(folder("half-way")):
        time.sleep(0.01)
    script.send_signal(signal.SIGKILL)
    script.communicate(60)
    names = os.listdir(folder(""))
    assert [name for name in names if name.startswith(STAGE)] and output not in names
    assert output + ".index" not in names
    alive = folder(STAGE + "0" * 32)
    os.mkdir(alive)
    lock = try_lock(os.path.join(alive, "lock"))
    os.mkdir(folder(STAGE + "other"))
    pe.export(prefix, folder(output), format or None)
    names = [name for name in os.listdir(folder("")) if name.startswith(STAGE)]
    assert sorted(names) == [STAGE + "0" * 32, STAGE + "other"]
    lock.release()


def test_a_source_that_is_replaced_meanwhile(folder, write_checkpoint, monkeypatch):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    save = np.save

    def replace(*arguments, **keywords):
        write_checkpoint({"e": np.zeros([3, 2], "f")})
        save(*arguments, **keywords)

    monkeypatch.setattr(npy.np, "save", replace)
    with pytest.raises(ValueError, match="was replaced while it was read"):
        pe.export(prefix, folder("e.npy"))
    assert not os.path.exists(folder("e.npy"))


def test_nothing_but_tensorflow_is_imported(folder, write_checkpoint):
    prefix = write_checkpoint({"e": np.ones([2, 2], "f")})
    for output, format in FORMATS[:4]:
        pe.export(prefix, folder(output), format)
    assert not {"safetensors", "gensim"}.intersection(sys.modules)
