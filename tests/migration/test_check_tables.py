"""Tables that can be grown are found, by what reads them, by name, by size; others are not."""

import pytest

LINES, VARIABLES = "The lines", "`tf.Variable` tables"


def tables(check, source):
    return [(its.line, its.remedy.split(":")[0]) for its in check(source) if its.kind == "table"]


def test_a_table_is_what_is_looked_up(check, said):
    source = """
    W = tf.get_variable("W", [n_e, 10])
    V = tf.get_variable("V", [n_e2, 10])
    x = tf.nn.embedding_lookup(W, ids)
    """
    assert tables(check, source) == [(1, "n_e rows")]
    assert said(source) == {(1, "table", LINES)}


@pytest.mark.parametrize(
    "lookup",
    [
        "tf.gather(e, ids)",
        "tf.nn.embedding_lookup_sparse(e, ids, None)",
        "tf.nn.safe_embedding_lookup_sparse(e, ids)",
        "tf.nn.embedding_lookup(params=e, ids=ids)",
        "tf.nn.embedding_lookup(tf.concat([tf.zeros([1, 3]), e[1:, :]], 0), ids)",
        "tf.nn.embedding_lookup(e / tf.norm(e), ids)",
        "tf.nn.nce_loss(weights=e, biases=b, labels=l, inputs=x, num_sampled=2, num_classes=n)",
    ],
)
def test_ways_to_look_up(check, lookup):
    assert tables(check, f"e = tf.Variable(tf.zeros([n, 3]), name='x')\n{lookup}") == [
        (1, "n rows")
    ]


def test_through_names_members_keys_and_functions(check):
    source = """
    class Model(object):
        def build(self):
            self.e = tf.get_variable("a", [n, 3])
            weights = {"b": tf.Variable(tf.zeros([m, 3]), name="b")}
            weights["c"] = tf.Variable(tf.zeros([k, 3]), name="c")
            return weights

        def look(self, table, ids):
            return tf.nn.embedding_lookup(table, ids)

        def run(self):
            w = self.build()
            alias = self.e
            tf.gather(alias, ids)
            tf.gather(w["b"], ids)
            self.look(w["c"], ids)
    """
    assert tables(check, source) == [(3, "n rows"), (4, "m rows"), (5, "k rows")]


@pytest.mark.parametrize(
    "start, rows",
    [
        ("tf.random_uniform([n, 3], -1.0, 1.0)", "n"),
        ("0.1 * tf.random_normal((n, 3))", "n"),
        ("tf.constant(0.0, shape=[n, 3])", "n"),
        ("lambda: tf.zeros([n, 3])", "n"),
        ("np.random.rand(n, 3).astype(np.float32)", "n"),
        ("np.random.uniform(-1, 1, size=(n, 3))", "n"),
        ("xavier([n, 3])", "n"),
        ("tf.random_normal([n + 1, 3])", "n + 1"),
        ("tf.random_normal([10000, 3])", "10000"),
    ],
)
def test_what_a_variable_starts_from_says_its_rows(check, start, rows):
    source = f"e = tf.Variable({start}, name='x')\ntf.gather(e, ids)"
    assert tables(check, source) == [(1, f"{rows} rows")]


def test_what_a_session_is_asked_for_is_no_shape(check):
    source = """
    vectors, b = sess.run([old_e, old_b])
    e = tf.Variable(vectors, name="e")
    bias = tf.Variable(b, name="bias")
    tf.gather(e, ids)
    """
    assert tables(check, source) == [(2, "as many rows as its array has")]


def test_the_shape_that_was_assigned_last(check):
    source = """
    shape = [n_users, 3]
    p = tf.Variable(tf.zeros(shape), name="p")
    shape = [n_items, 3]
    q = tf.Variable(tf.zeros(shape), name="q")
    """
    assert tables(check, source) == [(2, "n_users rows"), (4, "n_items rows")]


def test_a_name_is_what_it_was_made_last(check):
    source = """
    w = tf.get_variable("a", [n, 3])
    w = tf.get_variable("b", [m, 3])
    tf.gather(w, ids)
    """
    assert tables(check, source) == [(2, "m rows")]
    either = """
    if random:
        w = tf.get_variable("a", [n, 3])
    else:
        w = tf.get_variable("b", [m, 3])
    tf.gather(w, ids)
    """
    assert tables(check, either) == [(2, "n rows"), (4, "m rows")]


def test_a_helper_that_makes_variables(check):
    source = """
    def weight_variable(shape):
        initial = tf.truncated_normal(shape, stddev=0.1)
        return tf.Variable(initial)

    W = weight_variable([5, 5])
    e = weight_variable([vocab_size, 64])
    """
    assert tables(check, source) == [(6, "vocab_size rows")]


def test_biases_and_decoders_share_the_size_of_a_table(check, said):
    source = """
    e = tf.get_variable("e", [self.args.k + 1, d])
    tf.gather(e, ids)
    w = tf.get_variable("softmax_w", [d, 1 + args.k])
    b = tf.get_variable("softmax_b", [args.k + 1])
    inner = tf.get_variable("inner", [d, d])
    """
    assert [line for line, _ in tables(check, source)] == [1, 3, 4]
    assert (3, "table", "Decoders") in said(source)
    assert dict(tables(check, source))[4] == "args.k + 1 entries"


@pytest.mark.parametrize(
    "call",
    [
        "tf.keras.layers.Dense(vocab_size)",
        "tf.layers.dense(h, params.vocab_size)",
        "tf.contrib.layers.fully_connected(h, vocab_size)",
    ],
)
def test_layers_that_are_decoders(said, call):
    assert (1, "table", "Decoders") in said(call)
    assert (1, "table", "Decoders") not in said(call.replace("vocab_size", "hidden_size"))


@pytest.mark.parametrize(
    "call, heading",
    [
        ("tf.keras.layers.Embedding(n, 8)", "Known limits"),
        ("tf.contrib.layers.embed_sequence(ids, n, 8)", LINES),
        ("tf.feature_column.embedding_column(c, 8)", "Estimators and feature columns"),
    ],
)
def test_tables_that_a_call_makes_inside(said, call, heading):
    assert (1, "table", heading) in said(call)


def test_keras_by_itself(said):
    source = "from keras.layers import Dense, Embedding\ne = Embedding(input_dim=n, output_dim=8)"
    assert said(source) == {(2, "table", "Known limits")}


def test_a_table_along_both_axes_is_a_trap(said):
    source = """
    t = tf.get_variable("transitions", [n_words, n_words])
    tf.gather(t, ids)
    """
    assert said(source) == {(1, "trap", "Known limits")}


def test_a_variable_without_a_name(check):
    unnamed, named = "tf.Variable(tf.zeros([n, 3]))", "tf.Variable(tf.zeros([n, 3]), name='e')"
    for made, expected in ((unnamed, True), (named, False)):
        (found,) = check(f"e = {made}\ntf.gather(e, ids)")
        assert ("no name" in found.remedy) == expected
        assert found.heading == VARIABLES


def test_pretrained_rows_are_a_table_and_an_array(said):
    source = "table = tf.Variable(pretrained['user_embed'], name='user_embedding')"
    assert said(source) == {(1, "table", VARIABLES), (1, "trap", LINES)}


@pytest.mark.parametrize(
    "source",
    [
        "W = tf.get_variable('W', [hidden, hidden])",
        "W = tf.get_variable('embedding_projection', [hidden_size, 4])",
        "b = tf.get_variable('remember', [3])",
        "x = tf.gather(outputs, positions)",
        "emb = tf.nn.embedding_lookup(features, ids)",
        "W = tf.Variable(tf.truncated_normal([3, 3, n_channels, 8]), name='conv')",
        "s = tf.get_variable('scale', [])",
        "e = other.get_variable('embedding', [n_users, 3])",
    ],
)
def test_what_is_no_table(said, source):
    assert said(source) == set()


@pytest.mark.parametrize(
    "column",
    [
        "tf.feature_column.categorical_column_with_hash_bucket('w', 1000)",
        "tf.feature_column.crossed_column(['a', 'b'], 1000)",
    ],
)
def test_a_column_of_hashes_has_no_vocabulary_to_grow_with(check, column):
    assert not tables(check, f"c = {column}\ne = tf.feature_column.embedding_column(c, 8)")
    assert not tables(check, f"e = tf.feature_column.embedding_column({column}, 8)")


def test_a_bias_of_what_is_cut_is_no_table(check):
    source = """
    W = tf.Variable(tf.zeros([784, 10]))
    b = tf.Variable(tf.zeros([10]))
    y = tf.gather(tf.matmul(x, W) + b, ids)
    """
    assert not tables(check, source)


@pytest.mark.parametrize(
    "start",
    ["tf.concat([a, b], 0)", "tf.stack([a, b])", "np.concatenate([a, b])", "tf.constant([1, 2])"],
)
def test_a_list_of_values_is_no_shape(check, start):
    source = f"e = tf.Variable({start}, name='embedding')\ntf.gather(e, ids)"
    assert tables(check, source) == [(1, "as many rows as its array has")]


def test_a_table_of_pretrained_rows_and_others(check):
    source = "e = tf.Variable(tf.concat([data['item_emb'], xavier([n, 3])], 0), name='ent_embed')"
    assert tables(check, source) == [(1, "as many rows as its array has")]
