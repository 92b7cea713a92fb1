"""What is refused when a table is made: names that are taken, values that are too few."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import partial_embed as pe


def test_a_plain_variable_does_not_become_a_table(write_checkpoint):
    prefix = write_checkpoint({"embedding": np.zeros([4, 2], np.float32)})
    tf.get_variable("embedding", [6, 2])
    with tf.variable_scope("", reuse=True):
        with pytest.raises(ValueError, match="embedding was made as a plain variable before"):
            pe.get_embedding("embedding", [6, 2], num_frozen_rows=4)
        with pytest.raises(ValueError, match="plain variable before"), pe.growing(prefix):
            tf.get_variable("embedding", [6, 2])
    assert len(tf.global_variables()) == 1


def test_two_tables_of_one_name(write_checkpoint):
    """What is made by tf.Variable is nothing that tf.get_variable finds again."""
    prefix = write_checkpoint({"embedding": np.zeros([4, 2], np.float32)})
    with pytest.raises(ValueError, match="embedding already exists"), pe.growing(prefix):
        table = tf.Variable(tf.zeros([6, 2]), name="embedding")
        assert isinstance(table, pe.PartialEmbedding)
        tf.get_variable("embedding", [6, 2])


def test_a_table_of_no_rows():
    with pytest.raises(ValueError, match="embedding needs a shape"):
        pe.get_embedding("embedding", [0, 2], num_frozen_rows=0)
    assert tf.global_variables() == []


def test_initial_values_of_new_rows_do_where_old_ones_are_loaded(start):
    """Without a checkpoint the frozen rows start from them as well."""
    values = np.ones([2, 3], np.float32)
    with pytest.raises(ValueError, match=r"shape \[2, 3\]; expected the whole table, \[6, 3\]"):
        pe.get_embedding("embedding", [6, 3], num_frozen_rows=4, initializer=values)
    assert tf.global_variables() == []
    all_new = pe.get_embedding("new", [2, 3], num_frozen_rows=0, initializer=values)
    assert start().run(all_new).tolist() == values.tolist()
