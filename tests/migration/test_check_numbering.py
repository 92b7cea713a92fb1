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
    ],
)
def test_numbers_that_are_no_ids(said, source):
    assert HEADING not in {heading for _, _, heading in said(source)}
