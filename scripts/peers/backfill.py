"""PyKEEN's `BackfillRepresentation`: a frozen table and one of new rows, told apart by a lookup."""

from importlib import metadata

import on_torch
from pykeen.nn.representation import BackfillRepresentation, Embedding

VERSION = metadata.version("pykeen")


def make(embedding, old, new):
    """Returns a representation of as many rows, whose first are frozen."""
    base = Embedding(max_id=old, shape=embedding.embedding_dim, trainable=False)
    return BackfillRepresentation(max_id=old + new, base_ids=range(old), base=base)


if __name__ == "__main__":
    on_torch.main(f"PyKEEN {VERSION} `BackfillRepresentation`", {"pykeen": VERSION}, make)
