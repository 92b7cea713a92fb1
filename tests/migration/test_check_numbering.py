"""Ids that more data would give out otherwise are found; numbers that are no ids are not."""

import pytest

HEADING = "Ids that were renumbered"


@pytest.mark.parametrize(
    "line, source",
    [
        (1, "count = collections.Counter(words).most_common(n - 1)"),
        (2, "if word not in vocab:\n    vocab[word] = len(vocab)"),
        (1, "key2index[key] = len(key2index) + 1"),
        (2, "if word not in ids:\n    ids[word] = n\n    n += 1"),
        (3, "if k in ids:\n    continue\nids[k] = n\nn += 1"),
        (2, "if u not in self.ids:\n    self.ids[u] = self.n\n    self.n += 1"),
        (1, "ids[k] = len(ids.keys())"),
        (2, "if w not in ids:\n    ids[w] = n\n    n = n + 1"),
        (5, "if k in seen:\n    i = ids[k]\nelse:\n    i = n; n += 1\n    ids[k] = i; seen.add(k)"),
        (2, "words.sort(key=count, reverse=True)\nids = {w: i for i, w in enumerate(words)}"),
        (2, "words.sort()\nfor i, w in enumerate(words):\n    vocab[w].index = i"),
        (
            3,
            "order = np.argsort(freqs)\nwords = [words[i] for i in order[::-1]]\n"
            "for i, w in enumerate(words):\n    ids[w] = i + 2",
        ),
        (1, "i = ids.setdefault(k, len(ids))"),
        (1, "ids = collections.defaultdict(lambda: len(ids))"),
        (4, "if k in ids:\n    i = ids[k]\nelse:\n    ids[k] = i; n += 1; i = n"),
        (2, "pairs = sorted(c.items(), key=lambda x: -x[1])\nids = dict(zip(pairs, range(9)))"),
        (
            3,
            "pairs = sorted(c.items(), key=f)\nself.w, _ = zip(*pairs)\n"
            "ids = dict(zip(self.w, range(len(self.w))))",
        ),
        (2, "chars = sorted(list(set(text)))\nids = {c: i for i, c in enumerate(chars)}"),
        (2, "words = set(text)\nids = dict((w, i) for i, w in enumerate(words))"),
        (1, "for i, w in enumerate(set(words)):\n    ids[w] = i"),
        (3, "def items():\n    return d.Item.unique()\nids = dict(zip(items(), range(1, n)))"),
        (2, "import pandas as pd\nids = pd.Series(data=np.arange(n), index=data.Item.unique())"),
        (2, "from sklearn.preprocessing import LabelEncoder\nx = LabelEncoder()"),
        (2, "import pandas as pd\ncodes, keys = pd.factorize(column)"),
        (1, "codes = frame.word.astype('category').cat.codes"),
        (1, "keys, ids = np.unique(words, return_inverse=True)"),
        (2, "from keras.preprocessing.text import Tokenizer\nt = Tokenizer()"),
    ],
)
def test_ids_that_more_data_renumbers(said, line, source):
    assert (line, "trap", HEADING) in said(source)


@pytest.mark.parametrize(
    "source",
    [
        "print(counter.most_common(10))",
        "best = counter.most_common(1)[0]",
        "rows[i] = len(columns)",
        "sizes[word] = len(word)",
        "data[i] = n\nn += 1",
        "for i, w in enumerate(open(path)):\n    ids[w] = i",
        "for i, x in enumerate(sorted(scores)):\n    print(i, x)",
        "best = sorted(scores.items(), key=lambda x: -x[1])[:10]",
        "keys = np.unique(words)",
        "class A:\n    def a(self):\n        self.w = sorted(c)\n    def b(self):\n"
        "        self.w = load(f)\n        self.v = dict(zip(self.w, range(9)))",
        "users = data.user.unique()",
        "while words:\n    vocab[token] = index",
        "for i, w in enumerate(sorted(words)):\n    first[w] = i < 2",
        "if i in seen:\n    rows[k] = n\nn += 1",
        "def a():\n    w.sort()\ndef b():\n    ids = {k: i for i, k in enumerate(w)}",
        "for i, w in enumerate(sorted(words)):\n    w.rank = i",
        "order = np.argsort(x)\nfor i, k in enumerate(order):\n    print(i + 2, k)",
    ],
)
def test_numbers_that_are_no_ids(said, source):
    assert HEADING not in {heading for _, _, heading in said(source)}


def the_trap(check, source):
    """Returns the only trap that is found, which is of numbering."""
    (found,) = [its for its in check(source) if its.kind == "trap"]
    assert found.heading == HEADING
    return found


@pytest.mark.parametrize(
    "hashed",
    [
        "ids = tf.strings.to_hash_bucket_fast(words, n)",
        "ids = tf.string_to_hash_bucket(words, num_buckets=n)",
        "c = tf.feature_column.categorical_column_with_hash_bucket('word', n)",
        "c = tf.feature_column.crossed_column(['a', 'b'], n)",
        "ids = [hash(w) % n for w in words]",
        "import hashlib\ni = int(hashlib.md5(w).hexdigest(), 16) % n",
        "from keras.preprocessing.text import hashing_trick\nids = hashing_trick(w, n)",
    ],
)
def test_ids_by_hash_stay_as_many_as_they_are(check, hashed):
    found = the_trap(check, hashed)
    assert "leave the number of buckets as it is" in found.remedy


@pytest.mark.parametrize(
    "source", ["test = hash(w) % 10 < 2", "h = hash(w)", "i = n % size", "d.setdefault(k, [])"]
)
def test_hashes_that_are_no_ids(check, source):
    assert not check(source)


@pytest.mark.parametrize(
    "line",
    [
        "t = tf.lookup.StaticVocabularyTable(lines, 2)",
        "t = tf.contrib.lookup.index_table_from_file(path, num_oov_buckets=2)",
        "c = tf.feature_column.categorical_column_with_vocabulary_file('w', p, num_oov_buckets=2)",
        "c = tf.feature_column.categorical_column_with_vocabulary_list('w', k, num_oov_buckets=2)",
    ],
)
def test_last_rows_that_stay_the_last(check, line):
    found = the_trap(check, line)
    assert "the last 2 rows" in found.remedy
    assert [its for its in check(line.replace("2)", "0)")) if its.kind == "trap"] == []
