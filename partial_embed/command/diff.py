"""Which tensors, rows, columns and slots of two checkpoints differ: how many, where, how far.

The proof, which a colleague can repeat, that what was frozen is bit-identical:

  partial-embed diff run/model.ckpt-50 grown/model.ckpt-90 --tensor embedding
  partial-embed diff run/ grown/model.ckpt --tensor 'ent*' --vocabulary old.txt new.txt

A tensor that is longer in B is compared as far as A goes, or with --vocabulary by the keys of its
rows. Numbers are the same if their bits are. The exit status is 0 if B holds all that A holds, to
the last bit, whatever it adds; else 1. Counters and optimizer slots count: name what shall be
compared with --tensor.
"""

import math

from partial_embed.command.columns import columns
from partial_embed.command.progress import Progress


def add_arguments(parser):
    parser.add_argument("a", help="prefix, directory or `checkpoint` file")
    parser.add_argument("b", help="the same of the other")
    parser.add_argument(
        "--tensor", action="append", metavar="NAME", help="a tensor, or pattern, to compare (all)"
    )
    parser.add_argument(
        "--vocabulary",
        nargs=2,
        metavar=("OLD", "NEW"),
        help="files of one key a line, of the rows of A and of B",
    )
    parser.add_argument(
        "--num_oov_buckets", type=int, default=0, help="rows after those of the keys, in both"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments):
    """Prints how two checkpoints differ; returns the exit status."""
    import json

    from partial_embed.saving.compare import compare_checkpoints

    vocabularies = None
    if arguments.vocabulary:
        vocabularies = {"*": (*arguments.vocabulary, arguments.num_oov_buckets)}
    with Progress("partial-embed diff") as progress:
        found = list(
            compare_checkpoints(arguments.a, arguments.b, vocabularies, arguments.tensor, progress)
        )
    if arguments.json:
        print(json.dumps([dict(its._asdict(), same=its.same, **_far(its)) for its in found]))
    else:
        print("\n".join(lines_of(found)))
        if not arguments.vocabulary:
            _hint_at_keys(arguments.b, [its.name for its in found if its.values])
    return 1 if any(its.shapes[0] is not None and not its.same for its in found) else 0


def _hint_at_keys(b, names):
    """Says of tables that differ row by row if their rows are known by keys."""
    from partial_embed.files.checkpoint import Checkpoint
    from partial_embed.files.growth import follows_keys

    checkpoint = Checkpoint(b)
    keyed = [name for name in names if follows_keys(checkpoint, name)]
    if keyed:
        print(f"Rows of {', '.join(keyed)} follow keys in B: compare by --vocabulary OLD NEW.")


def _far(its):
    """JSON knows neither inf nor nan."""
    known = its.farthest is None or math.isfinite(its.farthest)
    return {} if known else {"farthest": str(its.farthest)}


def lines_of(found):
    """Returns what `compare_checkpoints` found, as lines."""
    rows = [["tensor", "shape", "", "differs"]]
    rows += [[its.name, _shape(its), its.slot_of and "slot" or "", _words(its)] for its in found]
    held = [its for its in found if its.shapes[0] is not None]
    same = sum(its.same for its in held)
    return [*columns(rows), "", f"{same} of {len(held)} tensors of A are in B, to the last bit."]


def _shape(its):
    one, other = its.shapes
    if one is None or other is None or one == other:
        return str(other if one is None else one)
    return f"{one} {other}"


def _part(runs, count, unit):
    from partial_embed.files.runs import describe_runs

    some = sum(stop - start for start, stop in runs)
    return f"all {unit}s" if some == count else f"{some} of {count} {unit}s ({describe_runs(runs)})"


def _words(its):
    if None in its.shapes:
        return "only in B" if its.shapes[0] is None else "only in A"
    if its.dtypes[0] != its.dtypes[1]:
        return f"{its.dtypes[0]} in A, {its.dtypes[1]} in B"
    if its.compared is None:
        return "another shape"
    told = []
    size = (its.shapes[1] or [1])[its.axis if its.shapes[1] else 0]
    unit, other = {0: ("row", "column"), 1: ("column", "row")}.get(its.axis, ("slice", ""))
    if its.values:
        far = "" if its.farthest is None else f", by {its.farthest:.3g} at most"
        where = _part(its.rows, its.compared, unit)
        if its.columns is not None:
            across = _part(its.columns, its.shapes[0][1 - its.axis], other)
            where += f", {across}" if across[:4] != "all " else ""
        told.append(f"{where}, {its.values} values{far}" if its.shapes[0] else f"yes{far}")
    if its.dropped:
        told.append(f"{its.dropped} {unit}s of A are gone")
    if size > its.compared:
        told.append(f"{size - its.compared} {unit}s are new")
    return "; ".join(told) or "no"
