"""What players on torch have in common: the model, its optimizers, its batches."""

import json
import sys

import torch
from turns import Player, serve

OPTIMIZERS = {
    "SGD": lambda of: torch.optim.SGD(of, lr=0.1),
    "Adagrad": lambda of: torch.optim.Adagrad(of, lr=0.1, initial_accumulator_value=0.1),
    "Adam": lambda of: torch.optim.Adam(of, lr=0.1),
}
SPARSE = dict(OPTIMIZERS, Adam=lambda of: torch.optim.SparseAdam(of, lr=0.1))


def main(name, version, make):
    """Serves torch's plain embeddings and another form of a table.

    Args:
      name: what that form is called.
      version: {package: version}.
      make: `make(embedding, old_rows, new_rows)`, of a `torch.nn.Embedding` of all rows, returns
        the module that looks up rows; what it has that requires a gradient trains.
    """
    sizes = json.loads(sys.argv[1])
    if sizes["threads"]:
        torch.set_num_threads(sizes["threads"])
    rows, new, dim = sizes["rows"], sizes["new_rows"], sizes["dim"]
    threads = torch.get_num_threads()
    said = f"torch {torch.__version__}, {threads} thread{'s' * (threads > 1)}"
    peer = f"{name}; {said}"

    def plain(**options):
        # Zeros without a draw of so many numbers.
        return torch.nn.Embedding(rows + new, dim, _weight=torch.zeros(rows + new, dim), **options)

    players = {
        f"`torch.nn.Embedding`, all rows train; {said}": (plain(), OPTIMIZERS),
        f"the same with `sparse=True`; {said}": (plain(sparse=True), SPARSE),
        peer: (make(plain(), rows, new), OPTIMIZERS),
    }
    optimizer = sizes["optimizer"]
    about = dict(version, torch=torch.__version__, threads=threads, peer=peer)
    serve({title: player(sizes, *its, optimizer) for title, its in players.items()}, about)


def player(sizes, table, optimizers, optimizer):
    """Returns the `Player` that trains a table and a weight [dim, 2]."""
    generator = torch.Generator().manual_seed(0)
    rows, new, batch = sizes["rows"], sizes["new_rows"], sizes["batch"]
    weight = torch.nn.Parameter(torch.ones(sizes["dim"], 2))
    of_table = [its for its in table.parameters() if its.requires_grad]
    if optimizer == "Adam" and optimizers is SPARSE:  # Which takes sparse gradients alone.
        each = [optimizers["Adam"](of_table), OPTIMIZERS["Adam"]([weight])]
    else:
        each = [optimizers[optimizer]([*of_table, weight])]

    def draw():
        old = torch.randint(rows, [0 if sizes["new"] == "all" else batch // 2], generator=generator)
        of_new = torch.randint(rows, rows + new, [batch - len(old)], generator=generator)
        return torch.cat([old, of_new])

    def take(ids):
        for its in each:
            its.zero_grad()
        (table(ids) @ weight - 1).square().mean().backward()
        for its in each:
            its.step()

    return Player(draw, take)
