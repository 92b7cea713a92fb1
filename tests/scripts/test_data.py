"""Reading columns: keys and numbers, whose rows are where, and bad lines."""

import logging
import os

import numpy as np
import pytest
import small_triples
from job import data as job_data


def write(directory, **files):
    os.makedirs(str(directory), exist_ok=True)
    for name, content in files.items():
        with open(os.path.join(str(directory), name + ".txt"), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(directory)


def test_reads_keys_in_alphabetical_order_if_there_is_no_vocabulary(tmp_path):
    directory = write(tmp_path, train="b\tlikes\ta\r\nc\tsees\tb\n", valid="a\tlikes\td\n")
    data = small_triples.read(directory)
    assert data.vocabularies["entities"] == ["a", "b", "c", "d"]
    assert data.vocabularies["relations"] == ["likes", "sees"]
    np.testing.assert_array_equal(small_triples.array(data, "train"), [[1, 0, 0], [2, 1, 1]])
    np.testing.assert_array_equal(small_triples.array(data, "valid"), [[0, 0, 3]])
    assert "test" not in data.splits


def test_old_keys_keep_their_rows(tmp_path):
    directory = write(tmp_path, train="b\tlikes\ta\nc\tsees\tb\n")
    data = small_triples.read(directory, {"entities": ["c", "z"], "relations": ["sees"]})
    assert data.vocabularies["entities"] == ["c", "z", "a", "b"]
    assert data.vocabularies["relations"] == ["sees", "likes"]


def test_the_line_of_a_vocabulary_is_the_row(tmp_path):
    # U+2028 ends a line for str.splitlines, but not here.
    directory = write(
        tmp_path, train="a\tr\tb\u2028\n", entities="b\u2028\nx\na\n", relations="r\n"
    )
    data = small_triples.read(directory)
    assert data.vocabularies["entities"] == ["b\u2028", "x", "a"]
    np.testing.assert_array_equal(small_triples.array(data, "train"), [[2, 0, 0]])


@pytest.mark.parametrize(
    "files, message",
    [
        (
            {"train": "a\tr\tb\na\tr\n"},
            r"train.txt, line 2: expected head relation tail, .*'a\\tr'",
        ),
        ({"train": "a\tr\tb\n\na\tr\tb\n"}, "train.txt, line 2: expected head relation tail"),
        ({"train": "a\tr\tb\na\t\tb\n"}, "train.txt, line 2"),
        ({"train": "a\tr\tb\tc\n"}, "train.txt, line 1"),
        (
            {"train": "a\tr\tb\n", "test": b"a\tr\tb\na\tr\t\xff\n"},
            "test.txt, line 2: this is not UTF-8",
        ),
        ({"train": ""}, "train.txt holds no examples"),
        (
            {"train": "a\tr\tb\na\tr\tc\n", "entities": "a\nb\n"},
            r"train.txt, line 2: 'c' is not in entities.txt; add it at the end",
        ),
        (
            {"train": "a\tr\tb\n", "valid": "a\ts\tb\n", "relations": "r\n"},
            r"valid.txt, line 1: 's' is not in relations.txt; add it at the end",
        ),
        (
            {"train": "a\tr\tb\n", "entities": "a\nb\na\n"},
            "entities.txt, line 3: the key 'a' stands on line 1 already",
        ),
        ({"train": "a\tr\tb\n", "entities": "a\n\nb\n"}, "entities.txt, line 2: empty"),
    ],
)
def test_bad_lines_are_named(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        small_triples.read(write(tmp_path, **files))


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa\tr\tb\r\nb\tr\ta\r\n")
    source = job_data.read_directory(str(tmp_path), small_triples.COLUMNS)
    assert job_data.number(source).vocabularies == {"entities": ["a", "b"], "relations": ["r"]}


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory of data .*nowhere"):
        small_triples.read(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="There is no file .*train.txt"):
        small_triples.read(write(tmp_path, test="a\tr\tb\n"))


def test_rows_follow_keys_whatever_the_order_of_a_vocabulary(tmp_path):
    directory = write(tmp_path, train="b\tr\ta\n", entities="b\na\nold\n", relations="r\n")
    data = small_triples.read(directory, {"entities": ["gone", "a"], "relations": ["r"]})
    # The base's keys keep their rows, whether the data has them or not; then the file's order.
    assert data.vocabularies["entities"] == ["gone", "a", "b", "old"]
    assert data.num_old == {"entities": 2, "relations": 1}
    np.testing.assert_array_equal(small_triples.array(data, "train"), [[2, 0, 1]])
    np.testing.assert_array_equal(data.is_new(data.splits["train"]), [True])


def test_bad_lines_are_counted_if_asked(tmp_path, caplog):
    directory = write(tmp_path, train=b"a\tr\tb\nno\n\xff\tr\ta\nb\tr\ta\n", valid="a\tr\n")
    with caplog.at_level(logging.WARNING, "absl"):
        source = job_data.read_directory(directory, small_triples.COLUMNS, skip_bad_lines=True)
    assert source.splits["train"] == {
        "head": ("a", "b"),
        "relation": ("r", "r"),
        "tail": ("b", "a"),
    }
    assert "2 bad lines of " in caplog.text and "train.txt, line 2: expected head" in caplog.text
    assert "1 bad lines of " in caplog.text and "valid.txt, line 1" in caplog.text
    assert job_data.size(job_data.number(source).splits["valid"]) == 0


def test_ratings_with_and_without_time(tmp_path):
    columns = job_data.FORMATS["ratings"]
    directory = write(tmp_path / "a", train="u1\ti1\t3\t881250949\nu2\ti1\t4.5\t881250950\n")
    data = job_data.number(job_data.read_directory(directory, columns))
    assert data.splits["train"]["value"].tolist() == [3.0, 4.5]
    assert data.splits["train"]["time"].tolist() == [881250949.0, 881250950.0]
    assert data.vocabularies == {"users": ["u1", "u2"], "items": ["i1"]}
    job_data.write_directory(str(tmp_path / "again"), data)
    again = job_data.number(job_data.read_directory(str(tmp_path / "again"), columns))
    assert again.splits["train"]["time"].tolist() == [881250949.0, 881250950.0]

    directory = write(tmp_path / "b", train="u1\ti1\t3\n")
    data = job_data.number(job_data.read_directory(directory, columns))
    assert sorted(data.splits["train"]) == ["item", "user", "value"]
    for lines, message in (
        ("u\ti\tmuch\n", "line 1: expected a number as value; found 'much'"),
        ("u\ti\tnan\n", "line 1: expected a number as value"),
        ("u\ti\t1\nu\ti\t1\t2\n", "line 2: 4 columns, where lines before have others"),
    ):
        with pytest.raises(ValueError, match=message):
            job_data.read_directory(write(tmp_path / "c", train=lines), columns)
