"""TensorFlow as its users run it, in a process of its own that knows nothing of partial_embed.

A small server on 127.0.0.1 that loads what was exported by TensorFlow's own loaders. It prints
its port, and ends when its input does or nobody has asked for two minutes.

    look_up      path, signature, inputs: rows of a SavedModel
    signatures   path: names of its signatures
    restore      path, tables {name: [shape, dtype]}: what tf.train.Checkpoint restores
    keras        path, ids: what a model holds, and what it gives for ids
    keras_save   path, dtype: saves a model of Keras's own

Values come back as lists; what fails as {"error": text}.
"""

import http.server
import json
import os
import sys
import threading
import traceback

import numpy as np
import tensorflow as tf

IS_NEW = not tf.__version__.startswith("1.")
_loaded = {}


def load(path):
    """Returns {signature name: function of a list, that gives an array} of a SavedModel."""
    if path not in _loaded:
        _loaded[path] = load_new(path) if IS_NEW else load_old(path)
    return _loaded[path]


def load_new(path):
    model = tf.saved_model.load(path)

    def function(signature):
        ((name, spec),) = signature.structured_input_signature[1].items()
        return lambda values: signature(**{name: tf.constant(values, spec.dtype)})["rows"].numpy()

    # The model must be kept: its signatures hold its variables by weak references.
    functions = {name: function(signature) for name, signature in model.signatures.items()}
    functions[""] = model
    return functions


def load_old(path):
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)

    def function(signature):
        ((_, tensor),) = signature.inputs.items()
        return lambda values: session.run(signature.outputs["rows"].name, {tensor.name: values})

    return {name: function(signature) for name, signature in model.signature_def.items()}


def restore(path, tables):
    """Returns {name: values} of variables that are restored as objects."""
    with tf.Graph().as_default() if not IS_NEW else tf.init_scope():
        made = {
            name: tf.Variable(tf.zeros(shape, dtype), dtype=dtype)
            for name, (shape, dtype) in tables.items()
        }
        status = tf.train.Checkpoint(**made).restore(path)
        status.assert_consumed()
        if IS_NEW:
            return {name: variable.numpy() for name, variable in made.items()}
        with tf.compat.v1.Session() as session:
            status.run_restore_ops(session)
            return session.run(made)


def answer(request):
    do, path = request["do"], request["path"]
    if do == "look_up":
        rows = load(path)[request["signature"]](request["inputs"])
        return {"rows": rows.tolist(), "dtype": rows.dtype.name}
    if do == "signatures":
        return {"names": sorted(name for name in load(path) if name)}
    if do == "restore":
        values = restore(path, request["tables"])
        return {name: np.asarray(value, np.float64).tolist() for name, value in values.items()}
    import keras

    if do == "keras_save":  # a model of Keras's own, for the way back
        model = keras.Sequential(
            [
                keras.Input([2], dtype="int64"),
                keras.layers.Embedding(5, 3, dtype=request["dtype"], name="words"),
                keras.layers.Flatten(),
                keras.layers.Dense(2, name="scores"),
            ]
        )
        model.compile("adam", "mse")
        model.fit(np.zeros([4, 2]), np.ones([4, 2]), verbose=0)
        model.save(path)
        words = model.get_layer("words").get_weights()[0]
        return {"words": np.asarray(words, np.float64).tolist()}
    model = keras.models.load_model(path)
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    inputs = [np.asarray(request["ids"])] * len(layers)
    rows = model(inputs if len(inputs) > 1 else inputs[0])
    return {
        "weights": {
            n: np.asarray(w.get_weights()[0], np.float64).tolist() for n, w in layers.items()
        },
        "dtypes": {n: w.weights[0].dtype for n, w in layers.items()},
        "rows": np.asarray(rows, np.float64).tolist() if len(layers) == 1 else None,
    }


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8"))
        try:
            content = answer(request)
        except Exception as error:  # whatever it is, the test wants to see it
            content = {"error": str(error), "trace": traceback.format_exc()}
        text = json.dumps(content).encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


class Server(http.server.HTTPServer):
    timeout = 120

    def handle_timeout(self):
        os._exit(0)


def end_with_input():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    while True:
        server.handle_request()
