"""Rows follow their keys, and what is wrong with a vocabulary is said with its line."""

import os
import random
import tracemalloc

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe
from partial_embed.table.vocabulary import read_vocabulary

SOAK = bool(os.environ.get("PARTIAL_EMBED_SOAK"))
MUTATIONS = 2000 if SOAK else 100


@pytest.fixture
def write(tmp_path):
    """Returns `write(content)`: the path of a file of these bytes."""

    def write(content, name="keys.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


# --- files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, keys",
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        ("k\u00f6nig\n\u738b\n".encode(), ["k\u00f6nig", "\u738b"]),
        (b"two words\n\ttab\n", ["two words", "\ttab"]),
        (b"a\x0bb\x0cc\x85".replace(b"\x85", b"") + b"\n", ["a\x0bb\x0cc"]),
    ],
)
def test_a_key_a_line(write, content, keys):
    assert read_vocabulary(write(content)) == keys


def test_a_byte_order_mark_is_no_part_of_a_key(write):
    assert read_vocabulary(write(b"\xef\xbb\xbfa\nb\n")) == ["a", "b"]
    vocabulary = pe.align_vocabularies(
        write(b"a\nb\n", "old"), write(b"\xef\xbb\xbfa\nb\nc\n", "new")
    )
    assert vocabulary.source is None


def test_vocabularies_of_other_things(write):
    old, new = write(b"a\nb\n", "old"), write(b"a\t17\nb\t3\nc\t1\n", "new")
    with pytest.raises(ValueError, match="no key in common.*'a'.*'a.t17'.*one key a line"):
        pe.align_vocabularies(old, new)


def test_lines_are_those_of_tensorflows_tables(write, start):
    # A line may hold what Python takes for the end of one.
    path = write("a\u2028b\nc\x1dd\ne\n".encode())
    keys = read_vocabulary(path)
    table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            path,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    ids = table.lookup(tf.constant([key.encode() for key in keys]))
    session = start()
    session.run(tf.tables_initializer())
    assert session.run(ids).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty; expected one key a line"),
        (b"a\n\nb\n", "line 2: empty"),
        (b"a\n  \n", "line 2: empty"),
        (b"a\nb\nc\nb\n", "line 4: the key 'b' stands on line 2 already"),
        (b"a\n\xff\xfe\n", "line 2: not UTF-8 text"),
        (b"a\nb\n\n", "line 3: empty"),
    ],
)
def test_lines_that_are_no_keys(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message) as error:
        read_vocabulary(path)
    assert path in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="There is no vocabulary file") as error:
        read_vocabulary(str(tmp_path / "nowhere.txt"))
    assert str(tmp_path / "nowhere.txt") in str(error.value)


def keys_of(content):
    """The keys that a file of these bytes has, None if it is no vocabulary."""
    lines = content[3 if content[:3] == b"\xef\xbb\xbf" else 0 :].split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    try:
        keys = [line[: len(line) - line.endswith(b"\r")].decode("utf-8") for line in lines]
    except UnicodeDecodeError:
        return None
    fine = keys and all(map(str.strip, keys)) and len(set(keys)) == len(keys)
    return keys if fine else None


def cut(content, random):
    return content[: random.randrange(len(content) + 1)]


def flip(content, random):
    at = random.randrange(len(content) + 1)
    return content[:at] + bytes([random.randrange(256)]) + content[at + 1 :]


def twice(content, random):
    lines = content.split(b"\n")
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
    return b"\n".join(lines)


INSERTED = [b"\0", b"\n", b"\r\n", b"\r", b" \n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2", b"\x1c"]
INSERTED += ["\u2028".encode(), "\ud800".encode("utf-8", "surrogatepass"), b"new\n", b"x" * 100000]


def insert(content, random):
    at = random.choice([0, len(content), random.randrange(len(content) + 1)])
    return content[:at] + random.choice(INSERTED) + content[at:]


def test_files_of_any_kind(write):
    fine = "".join(
        f"{name}{number}\n" for number in range(9) for name in ("Q", "k\u00f6nig ", "\t")
    )
    read = 0
    for seed in range(MUTATIONS):
        randomness, content = random.Random(seed), fine.encode()
        for _ in range(randomness.randrange(1, 4)):
            content = randomness.choice([cut, flip, twice, insert, insert])(content, randomness)
        path, expected = write(content), keys_of(content)
        if expected is not None:
            assert read_vocabulary(path) == expected, seed
            read += 1
            continue
        with pytest.raises(ValueError, match="is empty; expected|, line [0-9]+: ") as error:
            read_vocabulary(path)
        assert path in str(error.value) and len(str(error.value)) < 500, seed
    assert MUTATIONS // 5 < read < MUTATIONS * 4 // 5


@pytest.mark.parametrize(
    "line", [b"x" * (4 << 20), b"\0" * (4 << 20), b"\xf0\x9f\x98\x80" * (1 << 20)]
)
def test_lines_without_end(write, line):
    path, other = write(line + b"\n" + line + b"\n"), write(line, "other")
    tracemalloc.start()
    with pytest.raises(ValueError, match="line 2: the key .* stands on line 1 already") as error:
        read_vocabulary(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 * len(line)
    assert len(str(error.value)) < 500
    with pytest.raises(ValueError, match="have no key in common") as error:
        pe.align_vocabularies(other, ["a"])
    assert len(str(error.value)) < 500


def test_a_directory_is_no_vocabulary(tmp_path):
    with pytest.raises(ValueError, match="is a directory, .* expected a file") as error:
        read_vocabulary(str(tmp_path))
    assert str(tmp_path) in str(error.value)


# --- aligning ---------------------------------------------------------------------------


def test_the_old_keys_first_cost_nothing(write):
    vocabulary = pe.align_vocabularies(write(b"a\nb\n", "old"), write(b"a\nb\nc\n", "new"))
    assert vocabulary.source is None
    assert vocabulary.old_keys == ["a", "b"]
    assert vocabulary.new_keys == ["a", "b", "c"]


def test_moved_dropped_and_new_keys():
    vocabulary = pe.align_vocabularies(list("abcd"), list("dxab"))
    assert vocabulary.source.tolist() == [3, -1, 0, 1]


class Colliding(str):
    """A text whose hash says little of it."""

    def __hash__(self):
        return len(self)


@pytest.mark.parametrize("text", [str, Colliding])
def test_any_keys_against_a_plain_search(random, text):
    """Also where hashes of different keys are equal, in one vocabulary or between the two."""
    for _ in range(200):
        old, new = (
            [text("k" * random.randint(1, 4) + str(key)) for key in random.randint(0, 30, size)]
            for size in random.randint(1, 9, 2)
        )
        new += old[: random.randint(0, len(old) + 1)]
        if len(set(map(str, old))) < len(old) or len(set(map(str, new))) < len(new):
            with pytest.raises(ValueError, match="more than once. A key has one row"):
                pe.align_vocabularies(old, new)
        elif not set(map(str, old)) & set(map(str, new)):
            with pytest.raises(ValueError, match="have no key in common"):
                pe.align_vocabularies(old, new)
        else:
            found = pe.align_vocabularies(old, new).source
            expected = [old.index(key) if key in old else -1 for key in new]
            is_prefix = expected[: len(old)] == list(range(len(old)))
            assert found is None if is_prefix else found.tolist() == expected


def test_a_list_with_a_key_twice():
    with pytest.raises(ValueError, match="holds 'a' more than once"):
        pe.align_vocabularies(list("caba"), list("ab"))
    with pytest.raises(ValueError, match="Keys must be texts"):
        pe.align_vocabularies(["a", ""], ["a"])


@pytest.mark.parametrize("key", ["c\nd", "c\n", "c\r", "c\ud800"])
def test_a_list_with_a_key_that_no_line_of_a_file_says(key):
    """Of a file read without care; what is written beside a checkpoint would say other keys."""
    with pytest.raises(ValueError, match="no line of a vocabulary file: 'c"):
        pe.align_vocabularies(["a", "b"], ["a", "b", key])


def test_a_list_that_begins_with_a_byte_order_mark():
    with pytest.raises(ValueError, match=r"no line of a vocabulary file: .*a'"):
        pe.align_vocabularies(["a", "b"], ["\ufeffa", "b", "c"])
    assert pe.align_vocabularies(["a"], ["a", "\ufeffb", "c\u2028", "d\re"]).source is None


@pytest.mark.parametrize(
    "given",
    ["new.txt", list("abcd"), list("abc"), ("a", "b", "c", 1), ("a",), {"a": 0}, (1, 2), ("a", 1)],
)
def test_a_vocabulary_that_is_no_pair(write_checkpoint, given):
    base = write_checkpoint({"e": np.ones([3, 2], np.float32)})
    expected = r"as \(old, new\) or \(old, new, num_oov_buckets\).*found"
    with pytest.raises(ValueError, match=expected):
        pe.growing(base, vocabularies={"*": given})


@pytest.mark.parametrize("keys", [np.array(["a", "b"]), {"a": 1, "b": 0}, 3, None])
def test_what_is_neither_a_list_nor_a_path(keys):
    with pytest.raises(ValueError, match="Keys must be texts.* found .*(a|3|None)"):
        pe.align_vocabularies(["a"], keys)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("abc", "abcdef", "ends at line 3, and the checkpoint's table has 4 rows"),
        ("abcde", "abcdef", "has 5 keys, and the checkpoint's table has 4 rows: line 5 names no"),
        ("abcd", "abcde", "ends at line 5, and the table in the graph has 6 rows"),
        ("abcd", "abcdefg", "has 7 keys, and the table in the graph has 6 rows: line 7 names no"),
    ],
)
def test_as_many_keys_as_rows(write_checkpoint, old, new, message):
    prefix = write_checkpoint({"ent": np.zeros([4, 2], np.float32)})
    vocabulary = pe.align_vocabularies(list(old), list(new))
    with pytest.raises(ValueError, match=message) as error:
        pe.get_embedding("ent", [6, 2], checkpoint=prefix, vocabulary=vocabulary)
    assert "ent" in str(error.value)


# --- rows follow keys -------------------------------------------------------------------


@hypothesis.given(st.data())
@hypothesis.settings(
    max_examples=200 if SOAK else 12, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_rows_follow_keys(write_checkpoint, data):
    old = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True))
    kept = data.draw(st.lists(st.sampled_from(old), min_size=1, unique=True))
    added = data.draw(st.lists(st.integers(50, 90), max_size=6, unique=True))
    new = data.draw(st.permutations(kept + added))
    trainable = data.draw(st.none() | st.lists(st.integers(0, len(new) - 1), unique=True))
    values = np.arange(2 * len(old), dtype=np.float32).reshape([-1, 2]) + 1
    prefix = write_checkpoint({"ent": values})
    row_of = {key: row for row, key in enumerate(old)}
    expected = np.array([values[row_of[key]] if key in row_of else [-1, -1] for key in new])
    with tf.Graph().as_default(), tf.Session() as session:
        table = pe.get_embedding(
            "ent",
            [len(new), 2],
            checkpoint=prefix,
            vocabulary=pe.align_vocabularies(list(map(str, old)), list(map(str, new))),
            trainable_rows=trainable,
            initializer=tf.constant_initializer(-1),
        )
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(table), expected)
        ids = np.array(data.draw(st.lists(st.integers(0, len(new) - 1), max_size=9)), np.int64)
        np.testing.assert_array_equal(session.run(table.lookup(ids)), expected[ids])
        must_train = {row for row, key in enumerate(new) if key not in row_of}
        assert set(table.plan.trainable_rows) == must_train | set(trainable or [])
        keys = [str(new[row]) for row in sorted(must_train | set(trainable or []))]
        assert table.trainable_keys == keys


def operations(variable):
    """The types of all ops that a variable's initial value comes from."""
    from partial_embed.training.graph import upstream

    return [op.type for op in upstream([variable.initial_value])]


def test_the_prefix_case_stays_as_cheap(write_checkpoint):
    prefix = write_checkpoint({"ent": np.zeros([4, 2], np.float32)})
    counts = []
    for vocabulary in (
        None,
        pe.align_vocabularies(list("abcd"), list("abcdef")),
        pe.align_vocabularies(list("abcd"), list("xdcbay")),
    ):
        with tf.Graph().as_default():
            table = pe.get_embedding("ent", [6, 2], checkpoint=prefix, vocabulary=vocabulary)
            counts.append(operations(table.frozen))
    assert counts[0].count("RestoreV2") == counts[1].count("RestoreV2") == 1
    assert "GatherV2" not in counts[0] + counts[1]
    assert sorted(counts[0]) == sorted(counts[1])
    assert counts[2].count("RestoreV2") == 1  # One read, and then one gather.
    assert "GatherV2" in counts[2]


def test_a_large_shuffled_table_stays_out_of_the_graph(write_checkpoint, graph, start, random):
    rows = 200000
    values = np.arange(rows, dtype=np.float32).reshape([-1, 1])
    prefix = write_checkpoint({"ent": values})
    keys = list(map(str, range(rows)))
    order = random.permutation(rows)
    vocabulary = pe.align_vocabularies(keys, [keys[row] for row in order] + ["new"])
    table = pe.get_embedding("ent", [rows + 1, 1], checkpoint=prefix, vocabulary=vocabulary)
    assert graph.as_graph_def().ByteSize() < 20000
    np.testing.assert_array_equal(start().run(table.frozen), values[order])


def test_several_tables_grow_on_one_vocabulary(write_checkpoint, start, random):
    arrays = {
        "ent_embedding": random.randn(4, 3).astype(np.float32),
        "ent_transfer": random.randn(4, 2).astype(np.float32),
        "item": random.randn(2, 3).astype(np.float32),
    }
    prefix = write_checkpoint(arrays)
    entities = pe.align_vocabularies(list("abcd"), list("dxcb"))
    items = pe.align_vocabularies(list("pq"), list("pqr"))
    with pe.growing(prefix, vocabularies={"ent_*": entities, "item": items}):
        tables = {
            "ent_embedding": tf.get_variable("ent_embedding", [4, 3]),
            "ent_transfer": tf.get_variable("ent_transfer", [4, 2]),
            "item": tf.get_variable("item", [3, 3]),
        }
    session = start()
    for name in ("ent_embedding", "ent_transfer"):
        found = session.run(tables[name])
        np.testing.assert_array_equal(found[[0, 2, 3]], arrays[name][[3, 2, 1]])
        assert tables[name].plan.trainable_rows.tolist() == [1]
    np.testing.assert_array_equal(session.run(tables["item"])[:2], arrays["item"])
    assert tables["item"].trainable_keys == ["r"]


def test_keys_that_are_dropped_are_counted(write_checkpoint):
    prefix = write_checkpoint({"table": np.zeros([4, 2], np.float32)})
    with pe.growing(prefix, vocabularies={"table": (list("abcd"), list("bxa"))}) as growing:
        tf.get_variable("table", [3, 2])
    assert "2 rows frozen, 1 train, 2 of the checkpoint's dropped" in growing.summary()


def test_where_a_row_was_is_told(write_checkpoint):
    prefix = write_checkpoint({"table": np.zeros([3, 2], np.float32)})
    for new, told in (("abcd", "train, rows follow keys\n"), ("xacb", "keys ('a' from 0 to 1)\n")):
        with tf.Graph().as_default():
            with pe.growing(prefix, vocabularies={"*": (list("abc"), list(new))}) as growing:
                tf.get_variable("table", [4, 2])
            assert told in growing.summary() + "\n"


def test_a_plain_saver_and_a_base_in_another_order(write_checkpoint, start):
    base = write_checkpoint({"table": np.zeros([2, 2], np.float32)})
    with pe.growing(base, vocabularies={"*": (list("ab"), list("bca"))}):
        tf.get_variable("table", [3, 2])
    with pytest.raises(tf.errors.NotFoundError, match="Key table/frozen not found in checkpoint"):
        tf.train.Saver().restore(start(), base)


def test_rows_that_may_have_keys_and_got_none(write_checkpoint, start, tmp_path):
    base = write_checkpoint({name: np.zeros([3, 2], np.float32) for name in ("u", "v", "w")})
    keys = list("abc"), list("bcad")
    with pe.growing(base, vocabularies={"u": keys}) as growing:
        for name, rows in (("u", 4), ("v", 4), ("w", 5)):
            tf.get_variable(name, [rows, 2])
    assert "warning: v gained as many rows as a vocabulary keys" in growing.summary()
    saved = pe.Saver().save(start(), str(tmp_path / "saved"))
    with tf.Graph().as_default(), pe.growing(saved) as growing:
        for name in ("u", "v", "w"):
            tf.get_variable(name, [6, 2])
    assert "warning: rows of u follow keys in the checkpoint" in growing.summary()


@pytest.mark.parametrize("delta", [False, True])
def test_what_was_saved_under_other_keys_is_not_restored(write_checkpoint, start, tmp_path, delta):
    base = write_checkpoint({"e": np.ones([2, 2], np.float32)})

    def grow(new):
        vocabulary = pe.align_vocabularies(["a", "b"], new)
        return pe.get_embedding("e", [4, 2], checkpoint=base, vocabulary=vocabulary)

    grow(["a", "b", "c", "d"])
    saved = pe.Saver(delta=delta).save(start(), str(tmp_path / "saved"))
    for keys in (["a", "b", "c", "d"], ["a", "b", "d", "c"]):
        with tf.Graph().as_default():
            grow(keys)
            session = start()
            if keys[2] == "c":
                pe.Saver(delta=delta).restore(session, saved)
                continue
            with pytest.raises(ValueError, match="saved are of other keys, or in another order"):
                pe.Saver(delta=delta).restore(session, saved)


@pytest.mark.parametrize("delta", [False, True])
def test_what_was_saved_by_keys_is_not_restored_without(write_checkpoint, start, tmp_path, delta):
    """Rows that moved would be taken for those that stayed, new ones for old ones."""
    base = write_checkpoint({"e": np.ones([2, 2], np.float32)})
    with pe.growing(base, vocabularies={"e": (["a", "b"], ["c", "a", "b"])}):
        tf.get_variable("e", [3, 2])
    saved = pe.Saver(delta=delta).save(start(), str(tmp_path / "saved"))
    with tf.Graph().as_default():
        with pe.growing(base):
            table = tf.get_variable("e", [3, 2])
        session = start()
        before = session.run(table.value())
        told = "follow keys, and here no vocabulary was given|here rows 2 of 3 train"
        with pytest.raises(ValueError, match=told):
            pe.Saver(delta=delta).restore(session, saved)
        assert session.run(table.value()).tolist() == before.tolist()


@pytest.mark.parametrize("delta", [False, True])
def test_what_was_saved_by_numbers_is_not_restored_by_keys(
    write_checkpoint, start, tmp_path, delta
):
    base = write_checkpoint({"e": np.ones([2, 2], np.float32)})
    with pe.growing(base):
        tf.get_variable("e", [3, 2])
    saved = pe.Saver(delta=delta).save(start(), str(tmp_path / "saved"))
    for new in ("abc", "cab"):
        with tf.Graph().as_default():
            with pe.growing(base, vocabularies={"e": (list("ab"), list(new))}):
                table = tf.get_variable("e", [3, 2])
            session = start()
            before = session.run(table.value())
            if new == "abc":  # Old rows stand where they stood.
                pe.Saver(delta=delta).restore(session, saved)
                continue
            told = "grew without the vocabulary that is given here|here rows 0 of 3 train"
            with pytest.raises(ValueError, match=told):
                pe.Saver(delta=delta).restore(session, saved)
            assert session.run(table.value()).tolist() == before.tolist()


def test_earlier_generations_of_a_base_with_keys_are_restored(write_checkpoint, start, tmp_path):
    base = write_checkpoint({"e": np.ones([2, 2], np.float32)})
    with pe.growing(base, vocabularies={"e": (["a", "b"], ["a", "b", "c"])}):
        table = tf.get_variable("e", [3, 2])
    session = start()
    saved, expected = pe.Saver().save(session, str(tmp_path / "saved")), session.run(table.value())
    with tf.Graph().as_default():
        table = pe.get_embedding("e", [3, 2], checkpoint=saved, generation=0)
        session = start()
        pe.Saver().restore(session, saved)
        assert session.run(table.value()).tolist() == expected.tolist()


def test_a_base_that_was_saved_under_other_keys_is_none(write_checkpoint, start, tmp_path):
    base = write_checkpoint({"e": np.ones([2, 2], np.float32)})
    keys = pe.align_vocabularies(["a", "b"], ["b", "c", "a"])
    pe.get_embedding("e", [3, 2], checkpoint=base, vocabulary=keys)
    saved = pe.Saver().save(start(), str(tmp_path / "saved"))
    for old in (["b", "c", "a"], ["a", "b", "c"]):
        with tf.Graph().as_default():
            vocabulary = pe.align_vocabularies(old, ["a", "b", "c", "d"])
            if old[0] == "b":
                pe.get_embedding("e", [4, 2], checkpoint=saved, vocabulary=vocabulary)
                continue
            with pytest.raises(ValueError, match="saved are of other keys, or in another order"):
                pe.get_embedding("e", [4, 2], checkpoint=saved, vocabulary=vocabulary)


# --- what files know of keys ------------------------------------------------------------


@pytest.fixture
def grow(start, tmp_path):
    """Grows tables of a checkpoint, restores and saves; returns their first columns, in turn.

    New rows start at 100.
    """

    def run(base, tables, keys=None, restore=None, save=None, **options):
        hundred = tf.constant_initializer(100.0)
        vocabularies = {name: tuple(map(list, pair)) for name, pair in (keys or {}).items()}
        with tf.Graph().as_default():
            with pe.growing(base, vocabularies=vocabularies, show=None, **options):
                found = [tf.get_variable(n, [r, 7], initializer=hundred) for n, r in tables.items()]
            session, saver = start(), pe.Saver()
            if restore:
                saver.restore(session, restore)
            if save:
                saver.save(session, str(tmp_path / save))
            return [row[0] for table in found for row in session.run(tf.convert_to_tensor(table))]

    return run


@pytest.fixture
def keyed(write_checkpoint):
    """Writes a checkpoint of tables whose row of "a" holds 1, of "b" 2, and so on."""

    def write(name="base", **tables):
        rows = {table: np.float32([[ord(k) - 96] * 7 for k in k_]) for table, k_ in tables.items()}
        return write_checkpoint(rows, name=name)

    return write


def test_numbers_are_no_keys_where_old_rows_change_places_alone(grow, keyed, tmp_path):
    base = keyed(e="ab")
    grow(base, {"e": 3}, save="saved")
    with pytest.raises(ValueError, match="stand by their numbers"):
        grow(base, {"e": 3}, {"e": ("ab", "bac")}, restore=str(tmp_path / "saved"))


def test_a_base_is_known_by_what_it_holds(grow, keyed, tmp_path):
    base, keys = keyed(e="abc"), {"e": ("abc", "cad")}
    copy = keyed("copy", e="abc")
    assert grow(base, {"e": 3}, keys, restore=copy) == [3, 1, 100]
    grow(base, {"e": 3}, keys, save="base")  # over its base
    assert grow(copy, {"e": 3}, keys, restore=base) == [3, 1, 100]


def test_a_base_that_grew_by_keys_meanwhile(start, grow, keyed):
    base = keyed(e="ab")
    table = pe.get_embedding("e", [3, 7], checkpoint=base)
    session = start()
    grow(base, {"e": 3}, {"e": ("ab", "cab")}, save="base")
    with pytest.raises(ValueError, match="follow keys"):
        pe.Saver().restore(session, base)
    assert session.run(table.value())[:2, 0].tolist() == [1, 2]


def test_a_table_of_another_name_follows_its_keys(grow, keyed, tmp_path):
    base, saved = keyed(e="ab"), str(tmp_path / "saved")
    grow(base, {"e": 3}, {"e": ("ab", "cab")}, save="saved")
    with pytest.raises(ValueError, match="follow keys"):
        grow(base, {"emb": 3}, restore=saved, names={"emb": "e"})
    its = dict(restore=saved, names={"emb": "e"})
    assert grow(base, {"emb": 3}, {"emb": ("ab", "cab")}, **its) == [100, 1, 2]


def test_a_table_that_grew_there_and_is_frozen_here(grow, keyed, tmp_path):
    base, saved = keyed(e="ab", f="ab"), str(tmp_path / "saved")
    keys, tables = {"e": ("ab", "ba"), "f": ("ab", "abc")}, {"e": 2, "f": 3}
    grow(base, tables, keys, save="saved")
    assert grow(base, tables, keys, restore=saved) == [2, 1, 1, 2, 100]
    with pytest.raises(ValueError, match="rows of e .* follow keys"):
        grow(base, tables, {"f": keys["f"]}, restore=saved)


def test_keys_are_known_on_where_no_row_comes(grow, keyed, tmp_path):
    keys = {"e": (list("ab"), list("cab"))}
    grown, saved = str(tmp_path / "grown"), str(tmp_path / "saved")
    pe.grow_checkpoint(keyed(e="ab"), grown, vocabularies=keys, initializers="zeros", show=None)
    grow(grown, {"e": 3}, save="saved")
    with pytest.raises(ValueError, match="other keys, or in another order"):
        grow(saved, {"e": 4}, {"e": ("abc", "abcd")})
    grow(grown, {"e": 3}, {"e": ("cab", "cab")}, save="saved")
    assert grow(grown, {"e": 3}, restore=saved) == [0, 1, 2]


def test_an_earlier_generation_has_fewer_keys(grow, keyed, tmp_path):
    grow(keyed(e="ab"), {"e": 3}, {"e": ("ab", "abc")}, save="first")
    grow(str(tmp_path / "first"), {"e": 4}, {"e": ("abc", "abcd")}, save="second")
    second = str(tmp_path / "second")
    found = grow(second, {"e": 5}, {"e": ("ab", "xabwy")}, generation=0)
    assert found == [100, 1, 2, 100, 100]


def test_merged_deltas_know_their_keys(start, grow, keyed, tmp_path):
    base, deltas = keyed(e="ab"), []
    for new in ("abc", "abd", None):
        with tf.Graph().as_default():
            keys = {"e": (list("ab"), list(new))} if new else {}
            with pe.growing(base, vocabularies=keys, show=None):
                tf.get_variable("e", [3, 7])
            deltas.append(pe.Saver(delta=True).save(start(), str(tmp_path / f"delta{new}")))
    (tmp_path / "keys").write_text("a\nb\n")
    merged = str(tmp_path / "merged")
    pe.merge_checkpoint(base, deltas[:2], merged, vocabulary=str(tmp_path / "keys"))
    with pytest.raises(ValueError, match="other keys, or in another order"):
        grow(base, {"e": 4}, {"e": ("ab", "abdc")}, restore=merged)
    with pytest.raises(ValueError, match="deltaNone does not: which of them are the same"):
        pe.merge_checkpoint(base, deltas[1:], merged)
