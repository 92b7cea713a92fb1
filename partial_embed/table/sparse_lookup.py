"""Sparse lookups of a table, `tf.nn.embedding_lookup_sparse` and its safe kin, at a batch's cost.

They would make one tensor of the table first, of which `tf.gather` then takes rows: that tensor
looks them up, and is never computed. Where TensorFlow 2 does not even gather, it lets a type of its
own take another way.
"""

import inspect
from typing import List

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import place_of_ops


def look_up_sparse(*args, **kwargs):
    """`tf.nn.embedding_lookup_sparse` of tables: of the rows alone that the ids name."""
    signature = inspect.signature(tf.nn.embedding_lookup_sparse)
    given = signature.bind(*args, **kwargs).arguments
    tables, sparse_ids = given.pop("params"), given.pop("sp_ids")
    how = {key: given.pop(key) for key in ("partition_strategy", "max_norm") if key in given}
    with tf.name_scope(given.get("name"), "embedding_lookup_sparse"):
        ids, places = tf.unique(sparse_ids.values)
        rows = tf.nn.embedding_lookup(tables, ids, **how)
        places = tf.SparseTensor(sparse_ids.indices, places, sparse_ids.dense_shape)
        if "allow_fast_lookup" in signature.parameters:  # in 2.15, not in 2.12
            given["allow_fast_lookup"] = True  # they are unique already, and few
        return tf.nn.embedding_lookup_sparse(rows, places, **given)


def look_sparse_up_in(table_type):
    """Makes `tf.nn.embedding_lookup_sparse` look up in tables of a type, where it can be told."""
    if hasattr(tf.experimental, "dispatch_for_api"):
        for params in (table_type, List[table_type]):
            signature = {"params": params, "sp_ids": tf.SparseTensor}
            tf.experimental.dispatch_for_api(tf.nn.embedding_lookup_sparse, signature)(
                look_up_sparse
            )


def gather_in_table(value, table):
    """Returns `value`, all of `table`, of which `tf.gather` takes rows by looking them up."""
    place = place_of_ops()

    def sparse_read(ids, name=None):
        # What changes the table may come between the two, or wait for the value.
        if place_of_ops() != place or value.consumers():
            raise AttributeError("sparse_read")  # By which tf.gather knows a tensor.
        return table.lookup(ids, name=name)

    value.sparse_read = sparse_read
    return value
