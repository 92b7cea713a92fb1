"""`export`: tables of a checkpoint, or of a session, in the formats that others read."""

import contextlib
import os
from collections import namedtuple

from partial_embed.exporting.format import Options
from partial_embed.exporting.keras_file import KERAS
from partial_embed.exporting.keras_source import KerasSource
from partial_embed.exporting.keys import Keys
from partial_embed.exporting.name_based import CHECKPOINT
from partial_embed.exporting.npy import NPY
from partial_embed.exporting.object_based import OBJECT
from partial_embed.exporting.projector import PROJECTOR
from partial_embed.exporting.safetensors_file import SAFETENSORS
from partial_embed.exporting.saved_model import SAVED_MODEL
from partial_embed.exporting.sources import CheckpointSource, saved_session
from partial_embed.exporting.table import Table
from partial_embed.exporting.whole import directory_beside, expect_free, naming, put
from partial_embed.exporting.word2vec import BINARY_ENDINGS, TEXT_ENDINGS, WORD2VEC
from partial_embed.files.checkpoint import Checkpoint
from partial_embed.files.hashes import keys_text
from partial_embed.files.nearest import nearest, short
from partial_embed.files.publish import expect_no_other_keys, publish, staging
from partial_embed.table.optimizer_state import owner_of, renamed

FORMATS = {
    "saved_model": SAVED_MODEL,
    "object": OBJECT,
    "keras": KERAS,
    "checkpoint": CHECKPOINT,
    "npy": NPY,
    "safetensors": SAFETENSORS,
    "word2vec": WORD2VEC,
    "projector": PROJECTOR,
}
_ENDINGS = {".npy": "npy", ".safetensors": "safetensors", ".keras": "keras"}
_ENDINGS.update(dict.fromkeys(BINARY_ENDINGS + TEXT_ENDINGS, "word2vec"))


class Exported(namedtuple("Exported", ["output", "format", "tables"])):
    """What an export wrote.

    Attributes:
        output: str, path.
        format: str, see `export`.
        tables: dict of name to a text, like `[110, 32] float32, 110 keys`.
    """

    def describe(self):
        """Returns it in one line."""
        tables = ", ".join(f"{name} {text}" for name, text in self.tables.items())
        return f"Wrote {self.output} ({self.format}): {tables}."


def export(
    source,
    output,
    format=None,
    tables=None,
    vocabularies=None,
    names=None,
    unknown_keys="error",
    allow_nonfinite=False,
):
    """Writes tables of a checkpoint in a format that others read, every value bit for bit.

    Formats, and what reads each:

        saved_model   servers, by tf.saved_model.load: ids to rows, keys to rows; a directory
        object        tf.train.Checkpoint, by objects; a prefix
        keras         keras.models.load_model, a model of one Embedding a table (.keras)
        checkpoint    tf.train.Saver and growing, by name; a prefix
        npy           numpy.load (.npy)
        safetensors   safetensors (.safetensors)
        word2vec      gensim and others: text (.vec, .txt), binary (.bin); float32
        projector     TensorBoard's Embedding Projector, a directory; float32

    Args:
        source: a whole checkpoint, by name or by objects: prefix, directory or `checkpoint` file;
            a `.keras` file; or a `tf.Session`, of which the graph gains a `Saver`.
        output: path to write to. A file takes the place of a file, a checkpoint that of a
            checkpoint; a directory must not be there yet, or be empty.
        format: str, see above. Default: what the ending of `output` says.
        tables: name, or list of names, of tensors. Default: all that are tables, which are the
            floating-point ones of two axes that are no optimizer's; for "checkpoint", everything.
        vocabularies: {pattern: vocabulary}, as keys in order of their rows, or the path of a file
            of one key a line; (vocabulary, num_oov_buckets) if the last rows are for keys in none.
            Not a dict: for all tables that have a row a key. Default: `<prefix>.vocabulary.txt`,
            where that stands beside the checkpoint, for those that it fits.
        names: {name in the source: name in the output}; slots are called after their variables.
        unknown_keys: what a "saved_model" gives for a key that is in no vocabulary, where no rows
            are for such: "error", or "zeros", a row of zeros.
        allow_nonfinite: bool, whether to export rows that hold NaN or Inf.

    Returns:
        `Exported`.

    Raises:
        ValueError: if something does not fit: the source is a delta, a name is not there, the
            format cannot hold a dtype, a vocabulary has another number of keys. Nothing is
            written then.
        OSError: if it cannot be written. What stood there is as it was.

    Example:
        >>> exported = pe.export("base.ckpt", "vectors.npy", tables="embedding")
        >>> np.load("vectors.npy").shape
        (5, 4)
        >>> exported = pe.export("base.ckpt", "serving/1", "saved_model", tables="embedding")
        >>> exported.describe()
        'Wrote ...serving/1 (saved_model): embedding [5, 4] float32.'
    """
    output = _local(os.fsdecode(output))
    format = _format_of(output, format)
    kind = FORMATS[format].kind
    if unknown_keys not in ("error", "zeros"):
        raise ValueError(f"unknown_keys must be 'error' or 'zeros', got {unknown_keys!r}.")
    if kind != "checkpoint":
        expect_free(output, kind)
    with directory_beside(output) as directory:
        source = _open(source, directory)
        with contextlib.closing(source):
            chosen = _chosen(source, format, tables, names or {}, vocabularies, allow_nonfinite)
            served_by_key = format == "saved_model" and any(t.keys is not None for t in chosen)
            if unknown_keys == "zeros" and not served_by_key:
                raise ValueError(
                    "unknown_keys='zeros' is for a saved_model with a vocabulary. Give that, or "
                    "leave it out."
                )
            _expect_other_place(source, output, kind)
            place = os.path.join(directory, "output")
            if kind == "checkpoint":
                with staging(output) as stage:
                    FORMATS[format].write(chosen, stage, Options(output, unknown_keys))
                    source.check()
                    record, keys = _beside(chosen, format)
                    expect_no_other_keys(output, keys)
                    publish(stage, record, keys)
            else:
                with naming(output):
                    FORMATS[format].write(chosen, place, Options(output, unknown_keys))
                    source.check()
                    put(place, output, kind)
    return Exported(output, format, {table.name: _describe(table, format) for table in chosen})


def _local(output):
    """Returns an output's path from the root."""
    if "://" in output or not output:
        raise ValueError(
            f"{output!r} is no local path, and only there an export is whole or is not there. "
            "Export to a local one and copy."
        )
    return os.path.abspath(output)


def _format_of(output, format):
    """Returns the name of the format that is meant."""
    guessed = _ENDINGS.get(os.path.splitext(output)[1].lower())
    if format is None and guessed is None:
        raise ValueError(
            f"The ending of {output} does not say which format is wanted. Name it, one of "
            f"{', '.join(FORMATS)}."
        )
    if format is not None and format not in FORMATS:
        raise ValueError(f"There is no format {format!r}; there are {', '.join(FORMATS)}.")
    if format is not None and guessed not in (None, format) and FORMATS[format].kind == "file":
        raise ValueError(
            f"{output} has the ending of {guessed}, and {format} was asked for. Give it another "
            "name, or leave out the format."
        )
    return format or guessed


def _open(source, directory):
    """Returns the source that is meant; see `sources`."""
    if hasattr(source, "graph") and hasattr(source, "run"):
        return CheckpointSource(saved_session(source, directory), "the session")
    elif isinstance(source, (str, bytes, os.PathLike)):
        path = os.fsdecode(source)
        if path.endswith(".keras") and os.path.isfile(path):
            return KerasSource(path, directory)
    elif not isinstance(source, (Checkpoint, type(None))):
        raise TypeError(
            "source is a checkpoint's path, that of a .keras file, or a tf.Session; got "
            f"{short(source)}."
        )
    return CheckpointSource(source)


def _chosen(source, format, wanted, names, vocabularies, allow_nonfinite):
    """Returns the `Table`s that are exported, each checked."""
    kind, keys = FORMATS[format], Keys(source, vocabularies)
    if wanted is None:
        wanted = [
            n for n in sorted(source.shapes) if format == "checkpoint" or _is_table(source, n)
        ]
        if not wanted:
            raise ValueError(
                f"{source.label} holds no table: no floating-point tensor of two axes. It holds "
                f"{nearest('embedding', source.shapes) or 'nothing'}. Name one with tables=."
            )
    else:
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in [*wanted, *names]:
        if name not in source.shapes:
            raise ValueError(
                f"{source.label} holds no tensor {name!r}. It holds: "
                f"{nearest(name, source.shapes)}. Name one of those."
            )
    if not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f"tables={wanted}: expected one name at least, and none of them twice.")
    if kind.most_tables is not None and len(wanted) > kind.most_tables:
        raise ValueError(
            f"{format} holds one table, and {source.label} has {len(wanted)}: "
            f"{nearest('embedding', wanted)}. Name the one that is meant with tables=."
        )
    unnamed = [name for name in names if not (isinstance(names[name], str) and names[name])]
    if unnamed:
        raise ValueError(f"names= gives {', '.join(unnamed)} no name. Give one, or leave it out.")
    idle = [name for name in names if name not in wanted]
    if idle:
        raise ValueError(f"names= has {', '.join(idle)}, which is not exported. Leave it out.")
    source.expect_whole(wanted)
    chosen = []
    for name in wanted:
        shape, dtype = source.shapes[name], source.dtypes[name].name
        problem = None
        if kind.dtypes is not None and dtype not in kind.dtypes:
            problem = f"holds no {dtype} as it is, but {', '.join(sorted(kind.dtypes))}"
        elif kind.is_two_dimensional and len(shape) != 2:
            problem = "holds tables of rows and columns"
        elif format == "saved_model" and not shape:
            problem = "looks rows up, and a lone number has none"
        elif format == "keras" and 0 in shape:
            problem = "has no layers without rows or columns"
        if problem:
            raise ValueError(
                f"{name} {list(shape)} {dtype} of {source.label} cannot be exported: {format} "
                f"{problem}. Take another format, or leave it out with tables=."
            )
        found = keys.of(name)
        own = (found.new_keys, found.num_oov_buckets) if found else (None, 0)
        chosen.append(Table(_called(name, names), name, source, *own, allow_nonfinite))
    keys.check()
    called = [table.name for table in chosen]
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise ValueError(f"names= gives two tensors one name: {', '.join(twice)}.")
    return chosen


def _called(name, names):
    """Returns a tensor's name in the output: a slot is called after its variable."""
    owner = None if name in names else owner_of(name, names)
    return renamed(name, owner, names[owner]) if owner else names.get(name, name)


def _is_table(source, name):
    dtype = source.dtypes[name]
    return len(source.shapes[name]) == 2 and dtype.is_floating and not source.is_state(name)


def _expect_other_place(source, output, kind):
    """Raises ValueError if what is exported would be lost by it."""
    taken = {os.path.realpath(path) for path in source.files}
    if taken.intersection(map(os.path.realpath, (output, f"{output}.index"))):
        raise ValueError(f"{output} is what is exported, and would be replaced. Name another.")


def _beside(tables, format):
    """Returns (growth record, vocabulary text) that stand beside a checkpoint, or None for each."""
    vocabularies = {tuple(table.keys) for table in tables if table.keys is not None}
    text = keys_text(vocabularies.pop()) if len(vocabularies) == 1 else None
    record = {}
    if format == "checkpoint":
        for table in tables:
            if table.held_name in table.source.generations:
                record[table.name] = table.source.generations[table.held_name]
    return record or None, text


def _describe(table, format):
    text = f"{table.shape} {table.dtype.name}"
    if table.keys is not None:
        keys = f"{len(table.keys)} keys"
        if table.num_oov_buckets:
            keys += f" and {table.num_oov_buckets} rows for others"
        text += f", {keys}" if FORMATS[format].holds_keys else f", without its {keys}"
    return text
