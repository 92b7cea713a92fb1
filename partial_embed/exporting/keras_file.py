"""Tables as a `.keras` file of Keras 3: a model of one `Embedding` layer a table.

    metadata.json       version of Keras; and, for the way back, what each layer was called
    config.json         the model, by which keras.models.load_model builds it
    model.weights.h5    layers/embedding/vars/0, layers/embedding_1/vars/0, ...

It is written here, as Keras writes it, for two reasons: Keras makes no model in a process that
has switched to the behaviour of TensorFlow 1, and it holds the whole file in memory once more.
"""

import datetime
import json
import os
import zipfile

import tensorflow.compat.v1 as tf

from partial_embed.exporting.format import FLOATS, Format
from partial_embed.exporting.table import plain_name

WEIGHTS = "model.weights.h5"
METADATA = "metadata.json"
# In metadata.json, which Keras reads its own two entries of.
LAYERS = "partial_embed_layers"


def write(tables, path, options):
    """Writes a file; see `Format`."""
    del options
    version = _keras_version()
    import h5py  # comes with Keras

    layers = {table.name: plain_name(table.name).replace("/", "_") for table in tables}
    if len(set(layers.values())) < len(layers):
        raise ValueError(
            f"Keras layers have no / in their names, and without it two of {', '.join(layers)} "
            "have the same. Give one another by names=."
        )
    weights = path + ".h5"
    try:
        with h5py.File(weights, "w") as file:
            _write_weights(file, tables, layers)
    except RuntimeError as error:  # what h5py makes of a full disk, as it closes the file
        raise OSError(str(error)) from error
    metadata = {
        "keras_version": version,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        LAYERS: {layer: name for name, layer in layers.items()},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(METADATA, json.dumps(metadata))
        archive.writestr("config.json", json.dumps(_model(tables, layers)))
        archive.write(weights, WEIGHTS)
    os.unlink(weights)


def _write_weights(file, tables, layers):
    file.create_group("vars").attrs["name"] = "tables"
    for number, table in enumerate(tables):
        values = table.array()
        group = file.create_group(_numbered("layers/input_layer", number) + "/vars")
        group.attrs["name"] = layers[table.name] + "_ids"
        group = file.create_group(_numbered("layers/embedding", number) + "/vars")
        group.attrs["name"] = layers[table.name]
        dataset = group.create_dataset("0", data=values)
        if table.dtype == tf.bfloat16:
            dataset.attrs["dtype"] = "bfloat16"
        del values


def _keras_version():
    """Returns the version of the Keras that is installed, 3 or later."""
    if tf.__version__.startswith("1."):
        raise ValueError(
            f"TensorFlow {tf.__version__} comes with a Keras that has no .keras files. Export the "
            "same checkpoint with TensorFlow 2.16 or later, which reads it as it is."
        )
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("keras")
    except PackageNotFoundError:
        found = "none"
    if not found[:1].isdigit() or int(found.split(".")[0]) < 3:
        raise ValueError(
            f"A .keras file is written for Keras 3, and {found} is installed. Install keras>=3, "
            "or take another format."
        )
    return found


def _numbered(name, number):
    return f"{name}_{number}" if number else name


def _model(tables, layers):
    """Returns the config of a functional model: ids in, rows out."""
    entries, inputs, outputs = [], {}, {}
    for table in tables:
        layer = layers[table.name]
        ids = layer + "_ids"
        entries.append(_entry(ids, "InputLayer", _input_config(ids), []))
        tensor = {
            "class_name": "__keras_tensor__",
            "config": {
                "shape": [None, None],
                "dtype": "int64",
                "keras_history": [ids, 0, 0],
            },
        }
        entry = _entry(layer, "Embedding", _embedding_config(layer, table), [tensor])
        entries.append(dict(entry, build_config={"input_shape": [None, None]}))
        inputs[ids], outputs[layer] = [ids, 0, 0], [layer, 0, 0]
    is_one = len(tables) == 1
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "tables",
            "trainable": True,
            "layers": entries,
            "input_layers": list(inputs.values()) if is_one else inputs,
            "output_layers": list(outputs.values()) if is_one else outputs,
        },
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
        "compile_config": {},
    }


def _entry(name, kind, config, tensors):
    """Returns a layer, called on some tensors."""
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": config,
        "registered_name": None,
        "name": name,
        "inbound_nodes": [{"args": tensors, "kwargs": {}}] if tensors else [],
    }


def _input_config(name):
    return {
        "batch_shape": [None, None],
        "dtype": "int64",
        "sparse": False,
        "ragged": False,
        "name": name,
    }


def _embedding_config(name, table):
    policy = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": table.dtype.name},
        "registered_name": None,
    }
    return {
        "name": name,
        "trainable": True,
        "dtype": policy,
        "input_dim": table.shape[0],
        "output_dim": table.shape[1],
        "mask_zero": False,
    }


KERAS = Format(write, "file", FLOATS, most_tables=None, is_two_dimensional=True, holds_keys=False)
