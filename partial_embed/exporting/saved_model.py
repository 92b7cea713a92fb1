"""Tables as a SavedModel that serves: ids give rows, and keys do where there is a vocabulary.

Signatures of a model of one table; of several, each has these with its name after a slash, as
in `ids/user`, and there is no default:

    ids              ids, int64 of any shape -> rows
    keys             keys, string of any shape -> rows; with a vocabulary, which is an asset
    serving_default  keys if there are any, else ids

It is written in the manner of TensorFlow 1, by ops that 1.15 knows, and so serves on both.
"""

import os

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import SavedModel
from partial_embed.exporting.format import FLOATS, INTEGERS, Format
from partial_embed.exporting.table import file_name, plain_name, reading, variables_of
from partial_embed.files.hashes import keys_text
from partial_embed.files.tensors import cpu_only, fail_unless


def write(tables, path, options):
    """Writes a directory; see `Format`."""
    with tf.Graph().as_default(), tf.Session(config=cpu_only()) as session:
        variables, signatures = variables_of(tables), {}
        assets = path + "-assets"
        os.mkdir(assets)
        for number, (table, variable) in enumerate(zip(tables, variables)):
            end = "/" + table.name if len(tables) > 1 else ""
            with tf.name_scope("lookup_" + plain_name(table.name)):
                signatures["ids" + end] = _from_ids(table, variable)
                if table.keys is not None:
                    file = os.path.join(assets, file_name(number, table) + ".keys.txt")
                    signatures["keys" + end] = _from_keys(table, variable, file, options)
        if len(tables) == 1:
            default = signatures.get("keys", signatures["ids"])
            signatures[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY] = default
        with reading(tables):
            session.run(tf.global_variables_initializer())
        builder = tf.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            signature_def_map=signatures,
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
            main_op=tf.tables_initializer(),
            strip_default_attrs=True,
        )
        builder.save()
    _forget_debug_names(os.path.join(path, "saved_model.pb"))


def _forget_debug_names(path):
    """Takes from variables the one attribute that is not known to 1.15, and says nothing."""
    model = SavedModel()
    with open(path, "rb") as stream:
        model.ParseFromString(stream.read())
    for node in model.meta_graphs[0].graph_def.node:
        if node.op == "VarHandleOp":
            node.attr.pop("debug_name", None)
    with open(path, "wb") as stream:
        stream.write(model.SerializeToString())


def _from_ids(table, variable):
    """Returns the signature that looks ids up."""
    ids = tf.placeholder(tf.int64, None, "ids")
    return _signature({"ids": ids}, _rows(table, variable, ids))


def _from_keys(table, variable, file, options):
    """Returns the signature that looks keys up; writes the vocabulary to a file."""
    for key in table.keys:
        if "\r" in key or "\n" in key:
            raise ValueError(
                f"The key {key!r} of {table.held_name} holds the end of a line, and a vocabulary "
                "file has one key a line. Rename the key."
            )
    with open(file, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(keys_text(table.keys))
    keys = tf.placeholder(tf.string, None, "keys")
    initializer = tf.lookup.TextFileInitializer(
        file,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
        vocab_size=len(table.keys),
    )
    if table.num_oov_buckets:
        found = tf.lookup.StaticVocabularyTable(initializer, table.num_oov_buckets)
        return _signature({"keys": keys}, _rows(table, variable, found.lookup(keys)))
    found = tf.lookup.StaticHashTable(initializer, -1).lookup(keys)
    unknown = tf.less(found, 0)
    if options.unknown_keys == "error":
        message = f"Keys that are not in the vocabulary of {table.name}, the first 20:"
        with _expecting(tf.logical_not(unknown), message, keys):
            found = tf.identity(found)
        return _signature({"keys": keys}, _rows(table, variable, found))
    rows = _rows(table, variable, tf.maximum(found, 0))
    # One axis for each that rows have and keys do not.
    shape = tf.concat([tf.shape(keys), [1] * (len(table.shape) - 1)], 0)
    rows = tf.where_v2(tf.reshape(unknown, shape), tf.zeros([], rows.dtype), rows)
    return _signature({"keys": keys}, rows)


def _rows(table, variable, ids):
    """Returns the rows of some ids, after an op that fails for those of no row.

    TensorFlow's own lookup fails as well on a CPU, and gives zeros on other devices.
    """
    count = table.shape[0]
    message = f"Ids of {table.name} are 0 to {count - 1}, the first 20 that are not:"
    is_row = tf.logical_and(tf.greater_equal(ids, 0), tf.less(ids, count))
    with _expecting(is_row, message, ids):
        return tf.gather(variable, tf.identity(ids))


def _expecting(fits, message, values):
    others = tf.boolean_mask(tf.reshape(values, [-1]), tf.reshape(tf.logical_not(fits), [-1]))
    return tf.control_dependencies([fail_unless(message, tf.reduce_all(fits), others)])


def _signature(inputs, rows):
    return tf.saved_model.predict_signature_def(inputs, {"rows": rows})


SAVED_MODEL = Format(
    write,
    "directory",
    FLOATS | INTEGERS | {"bool", "complex64", "complex128"},
    most_tables=None,
    is_two_dimensional=False,
    holds_keys=True,
)
