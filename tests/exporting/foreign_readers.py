"""Reads what was exported by the libraries it is for, and knows nothing of partial_embed.

    python foreign_readers.py FOLDER

For each file and directory in FOLDER it writes `<name>.read.npz` beside it: an array a table, and
`keys`. Runs in an environment of its own: make .venv-readers/test.
"""

import os
import sys

import numpy as np
import safetensors.numpy
from gensim.models import KeyedVectors
from tensorboard.backend import application
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import projector_plugin
from werkzeug import test, wrappers


def word_vectors(path):
    vectors = KeyedVectors.load_word2vec_format(path, binary=path.endswith(".bin"))
    return {"table": vectors.vectors, "keys": np.array(vectors.index_to_key)}


def read_safetensors(path):
    with open(path, "rb") as stream:
        raw = dict(safetensors.deserialize(stream.read()))
    if not any(tensor["dtype"] == "BF16" for tensor in raw.values()):
        return safetensors.numpy.load_file(path)
    found = {}  # NumPy knows no bfloat16: that as the bits which the library found
    with safetensors.safe_open(path, framework="np") as file:
        for name, tensor in raw.items():
            if tensor["dtype"] == "BF16":
                found[name] = np.frombuffer(tensor["data"], np.uint16).reshape(tensor["shape"])
            else:
                found[name] = file.get_tensor(name)
    return found


def projector(path):
    class NoRuns:
        """TensorBoard has no events here, and the plugin then takes the directory alone."""

        def list_runs(self, *_, **__):
            return []

    context = base_plugin.TBContext(logdir=path, data_provider=NoRuns())
    client = test.Client(
        application.TensorBoardWSGI([projector_plugin.ProjectorPlugin(context)]), wrappers.Response
    )

    def get(route, **arguments):
        answer = client.get("/data/plugin/projector/" + route, query_string=arguments)
        assert answer.status_code == 200, answer.get_data()
        return answer

    (run,) = get("runs").get_json()
    found = {}
    for table in get("info", run=run).get_json()["embeddings"]:
        name, shape = table["tensorName"], table["tensorShape"]
        content = get("tensor", run=run, name=name).get_data()
        key = name.replace("/", "|")
        found[key] = np.frombuffer(content, np.float32).reshape(shape)
        found[key + ".metadata"] = np.array(
            get("metadata", run=run, name=name).get_data(as_text=True)
        )
    return found


READERS = {".vec": word_vectors, ".txt": word_vectors, ".bin": word_vectors}
READERS[".safetensors"] = read_safetensors
READERS[".projector"] = projector


def main(folder):
    for name in sorted(os.listdir(folder)):
        reader = READERS.get(os.path.splitext(name)[1])
        if reader:
            path = os.path.join(folder, name)
            np.savez(path + ".read.npz", **reader(path))


if __name__ == "__main__":
    main(sys.argv[1])
