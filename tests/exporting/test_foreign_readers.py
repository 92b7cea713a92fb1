"""What gensim, safetensors and TensorBoard read: the same keys, the same bits."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe

KEYS = ["ent/é", "名", "c", "<s>", "5"]


def bits(values):
    return np.ascontiguousarray(values).tobytes()


def narrow(dtype):
    return np.random.RandomState(2).randn(4, 3).astype(dtype)


@pytest.fixture(scope="module")
def rows():
    values = np.random.RandomState(0).randn(5, 3).astype("f")
    # The least and the most there is, and what is written in nine digits alone.
    values[0] = [-0.0, 1e-45, 3.4028235e38]
    values[1] = [0.1, 16777216, 1.17549435e-38]
    return values


@pytest.fixture(scope="module")
def numbers():
    """300 rows of all kinds of bits."""
    random = np.random.RandomState(1)
    values = random.randint(0, 1 << 32, size=[300, 16], dtype=np.uint64).astype(np.uint32)
    values = values.view(np.float32)
    values[~np.isfinite(values)] = 1
    return values


@pytest.fixture(scope="module")
def read(foreign, tmp_path_factory, rows, numbers):
    """{file name: arrays}: everything exported, and read in one process."""
    folder = tmp_path_factory.mktemp("readers")
    half, brain = narrow(np.float16), narrow(tf.bfloat16.as_numpy_dtype)

    def save(name, **tables):
        with tf.Graph().as_default(), tf.Session() as session:
            for table, values in tables.items():
                tf.get_variable(table.replace("__", "/"), initializer=tf.constant(values))
            session.run(tf.global_variables_initializer())
            return tf.train.Saver().save(session, str(folder / name), write_meta_graph=False)

    def export(prefix, name, *arguments, **keywords):
        pe.export(prefix, str(folder / name), *arguments, **keywords)

    one = save("one.ckpt", model__ent=rows)
    many = save("many.ckpt", numbers=numbers)
    others = save(
        "others.ckpt",
        half=half,
        brain=brain,
        double=rows.astype(float),
        bias=rows[0],
        n=np.int64(3),
    )
    single = save("single.ckpt", e=np.array([[0.5]], "f"))
    for ending in ("vec", "txt", "bin"):
        export(one, "keys." + ending, vocabularies=KEYS)
        export(one, "plain." + ending)
        export(one, "buckets." + ending, vocabularies=(KEYS[:3], 2))
        export(many, "many." + ending)
        export(others, "half." + ending, tables="half")
        export(others, "brain." + ending, tables="brain")
        export(single, "single." + ending, vocabularies=["only"])
    export(others, "others.safetensors", tables=["half", "brain", "double", "bias", "n"])
    export(one, "one.safetensors", names={"model/ent": 'é "quoted"\n'})
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("model/ent", initializer=rows)
        tf.get_variable("other", initializer=numbers)
        session.run(tf.global_variables_initializer())
        two = tf.train.Saver().save(session, str(folder / "two.ckpt"))
    export(two, "one.projector", "projector", vocabularies={"model/*": KEYS})
    with tf.Graph().as_default(), tf.Session() as session:
        pe.get_embedding("model/ent", [7, 3], checkpoint=one)
        session.run(tf.global_variables_initializer())
        grown = pe.Saver().save(session, str(folder / "grown.ckpt"))
    export(grown, "grown.projector", "projector", vocabularies=KEYS + ["new", "newer"])
    return foreign(folder)


@pytest.mark.parametrize("ending", ["vec", "txt", "bin"])
def test_word_vectors(read, rows, numbers, ending):
    def expect(name, keys, values):
        found = read[f"{name}.{ending}"]
        assert found["keys"].tolist() == keys
        assert found["table"].dtype == np.float32
        assert bits(found["table"]) == bits(values.astype("f"))

    expect("keys", KEYS, rows)
    expect("plain", list("01234"), rows)
    buckets = ["<out-of-vocabulary-0>", "<out-of-vocabulary-1>"]
    expect("buckets", KEYS[:3] + buckets, rows)
    expect("many", [str(n) for n in range(300)], numbers)
    expect("half", list("0123"), narrow(np.float16))
    expect("brain", list("0123"), narrow(tf.bfloat16.as_numpy_dtype))
    expect("single", ["only"], np.array([[0.5]]))


def test_safetensors(read, rows):
    found = read["others.safetensors"]
    expected = {
        "half": narrow(np.float16),
        "brain": narrow(tf.bfloat16.as_numpy_dtype),
        "double": rows.astype(float),
        "bias": rows[0],
        "n": np.int64(3),
    }
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert found[name].shape == values.shape and bits(found[name]) == bits(values), name
    assert bits(read["one.safetensors"]['é "quoted"\n']) == bits(rows)


def test_the_projector_of_two_tables(read, rows, numbers):
    found = read["one.projector"]
    assert sorted(found) == ["model|ent", "model|ent.metadata", "other", "other.metadata"]
    assert bits(found["model|ent"]) == bits(rows) and bits(found["other"]) == bits(numbers)
    assert str(found["other.metadata"]) == "".join(f"{n}\n" for n in range(300))


def test_the_projector_knows_generations(read, rows):
    found = read["grown.projector"]
    assert bits(found["model|ent"][:5]) == bits(rows)
    lines = [key + "\t0" for key in KEYS] + ["new\t1", "newer\t1"]
    assert str(found["model|ent.metadata"]).split("\n") == ["key\tgeneration", *lines, ""]
