"""`grow_saved_model`: a SavedModel that knows more keys, from the SavedModel alone."""

import contextlib
import os
import shutil

import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import SavedModel
from partial_embed.exporting.grown_graph import GrownVariable, grow_graph
from partial_embed.exporting.grown_keys import FINDS, HASHES, LOOKUP_TABLES
from partial_embed.exporting.nodes import ancestors
from partial_embed.exporting.whole import directory_beside, expect_free, naming, put
from partial_embed.files.growth import VOCABULARY_SUFFIX
from partial_embed.files.hashes import keys_text
from partial_embed.files.regular import read_file
from partial_embed.saving.grow_checkpoint import grow_checkpoint, show_on_stderr
from partial_embed.table.patterns import Patterns
from partial_embed.table.report import listed
from partial_embed.table.vocabulary import as_vocabulary
from partial_embed.training.graph import VARIABLES, node_of

_VARIABLES = os.path.join("variables", "variables")


def grow_saved_model(
    directory,
    output,
    rows=None,
    columns=None,
    vocabularies=None,
    constants=None,
    show=show_on_stderr,
    **arguments,
):
    """Writes a SavedModel whose tables have more rows: variables, graph and vocabularies.

    What loads the old one loads the new one as well, by the same signatures, and serves keys that
    were unknown. Variables grow as `grow_checkpoint` says. The files of keys in `assets/`,
    and keys in the graph itself, that are an old vocabulary become the new one. Of the graph there
    stays what serving asks for: ops of training are left out.

    Args:
        directory: of a SavedModel that TensorFlow 1 or `tf.compat.v1` wrote, by
            `tf.saved_model.Builder` or an Estimator.
        output: directory to write; it must not be there yet, or be empty.
        rows, columns, vocabularies: see `grow_checkpoint`.
        constants: dict of pattern of a node's name to the number in place of the old number of
            rows that it holds (`tf.one_hot`, a reshape), or "keep" where that is something else.
        show: function of a `Growth` that shows what became of each tensor; None for silence.
        **arguments: more arguments of `grow_checkpoint`: initializers, skip, slots, progress.

    Returns:
        The absolute path of `output`.

    Raises:
        ValueError: if it is no such SavedModel, the graph holds an old number of rows and nobody
            says what that means, a file of keys is another than the old vocabulary, or
            for what `grow_checkpoint` raises it. Nothing is written then.
        OSError: if it cannot be written.

    Example:
        >>> keys = ["ann", "bob", "eve"], ["dan", "ann", "bob", "eve"]
        >>> path = pe.grow_saved_model("export/1", "export/2", vocabularies={"*": keys}, show=None)
        >>> tf.train.load_checkpoint("export/2/variables/variables").get_tensor("table").shape
        (4, 2)
    """
    directory, output = os.fsdecode(directory), os.path.abspath(os.fsdecode(output))
    model = _read(directory)
    vocabularies = {p: as_vocabulary(v) for p, v in (vocabularies or {}).items()}
    expect_free(output, "directory")
    inside = os.path.realpath(output).startswith(os.path.join(os.path.realpath(directory), ""))
    if inside:
        raise ValueError(f"{output} is inside of what is to grow. Name a directory beside it.")
    with directory_beside(output) as beside:
        stage = os.path.join(beside, "output")
        with naming(output):
            settings = dict(arguments, rows=rows, columns=columns, vocabularies=vocabularies)
            growth = _write(model, directory, stage, constants, settings)
            put(stage, output, "directory")
    if show is not None:
        show(growth)
    return output


def _write(model, directory, stage, constants, settings):
    """Makes the grown model in a directory, and loads it once; returns its `Growth`."""
    shown, prefix = [], os.path.join(stage, _VARIABLES)
    old = os.path.join(directory, _VARIABLES)
    grow_checkpoint(old, prefix, show=shown.append, **settings)
    with contextlib.suppress(FileNotFoundError):  # The assets hold the keys.
        os.unlink(prefix + VOCABULARY_SUFFIX)
    tables = shown[0].tables
    used = list({id(t.vocabulary): t.vocabulary for t in tables if t.vocabulary}.values())
    files = _copy_assets(directory, stage, used)
    variables = [
        GrownVariable(
            name,
            table.plan.shape,
            table.plan.rows.axis,
            table.plan.rows.checkpoint_rows,
            table.plan.rows.num_rows,
            table.vocabulary,
        )
        for table in tables
        for name in (table.name, *table.slots)
    ]
    said = Patterns(constants or {})
    graphs = [grow_graph(meta, variables, used, said, files) for meta in model.meta_graphs]
    if said.unmatched:
        counts = sorted({variable.old for variable in variables})
        raise ValueError(
            f"The patterns {sorted(said.unmatched)} match no constant that holds an old number of "
            f"rows: {', '.join(map(str, counts))}."
        )
    _expect_followed(model, used, bool(files) or any(graphs), shown[0].warnings)
    with open(os.path.join(stage, "saved_model.pb"), "wb") as stream:
        stream.write(model.SerializeToString())
    _try(stage, model)
    return shown[0]


def _read(directory):
    """Returns the `SavedModel` of a directory."""
    content = read_file(os.path.join(directory, "saved_model.pb"))
    if content is None:
        raise ValueError(f"{directory} is no SavedModel: it holds no saved_model.pb.")
    model = SavedModel()
    try:
        model.ParseFromString(content)
    except Exception as error:
        raise ValueError(f"{directory}/saved_model.pb is damaged: {error}.") from error
    if not model.meta_graphs:
        raise ValueError(f"{directory}/saved_model.pb is damaged: it holds no graph.")
    if any(len(meta.object_graph_def.nodes) for meta in model.meta_graphs):
        raise ValueError(
            f"{directory} was written by tf.saved_model.save of TensorFlow 2, which keeps objects "
            "and not names. Grow the checkpoint, and export the model from its source."
        )
    if not os.path.exists(os.path.join(directory, _VARIABLES + ".index")):
        raise ValueError(f"{directory} has no variables that could grow.")
    return model


def _expect_followed(model, vocabularies, follows, warnings):
    """Refuses a model that goes on finding rows by old keys; warns where others number them."""
    moved = any(vocabulary.source is not None for vocabulary in vocabularies)
    has_tables = any(
        node.op in LOOKUP_TABLES for meta in model.meta_graphs for node in meta.graph_def.node
    )
    if vocabularies and has_tables and not follows:
        raise ValueError(
            "No file and no table of keys of the model is the old vocabulary, so it would go on "
            "finding rows by other keys. Give as the old one what stands in its assets."
        )
    if moved and not has_tables:
        warnings.append("the model is asked by row numbers, and rows have other numbers now")
    elif moved:
        named = sorted({name for meta in model.meta_graphs for name in _without_keys(meta)})
        if named:
            warnings.append(f"{listed(named)} asks by row numbers, and rows have other numbers now")


def _without_keys(meta_graph):
    """Yields the names of the signatures that read variables, and ask no table of keys for rows."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    for name, signature in meta_graph.signature_def.items():
        outputs = [node_of(info.name) for info in signature.outputs.values() if info.name]
        ops = {nodes[needed].op for needed in ancestors(outputs, nodes)}
        if not ops.intersection(FINDS + HASHES) and ops.intersection(VARIABLES):
            yield name


def _copy_assets(directory, stage, vocabularies):
    """Copies the files beside the graph; those that are an old vocabulary become the new one.

    Returns:
        Dict of the name of a file that did to its `Vocabulary`.
    """
    followed = {}
    for folder in ("assets", "assets.extra"):
        if os.path.isdir(os.path.join(directory, folder)):
            shutil.copytree(os.path.join(directory, folder), os.path.join(stage, folder))
    assets = os.path.join(stage, "assets")
    for name in sorted(os.listdir(assets)) if os.path.isdir(assets) else ():
        path = os.path.join(assets, name)
        content = read_file(path)
        if content is None:
            continue
        lines = [line.rstrip("\r") for line in _text(content).split("\n")]
        lines = lines[:-1] if lines[-1] == "" else lines
        for vocabulary in vocabularies:
            if lines == vocabulary.old_keys:
                with open(path, "w", encoding="utf-8", newline="\n") as stream:
                    stream.write(keys_text(vocabulary.new_keys))
                followed[name] = vocabulary
                break
        else:
            for vocabulary in vocabularies:
                shared = len(set(lines).intersection(vocabulary.old_keys))
                if 2 * shared > len(vocabulary.old_keys):
                    raise ValueError(
                        f"assets/{name} shares {shared} lines with the old vocabulary, and is "
                        "another. Give it as the old one, whole and in its order."
                    )
    return followed


def _text(content):
    return content.decode("utf-8-sig", "surrogateescape")


def _try(directory, model):
    """Loads each MetaGraph as serving does, variables and lookup tables."""
    for meta_graph in model.meta_graphs:
        with tf.Graph().as_default(), tf.Session() as session:
            try:
                tf.saved_model.loader.load(session, list(meta_graph.meta_info_def.tags), directory)
            except (tf.errors.OpError, ValueError) as error:
                raise ValueError(
                    "The grown model cannot be loaded, and was not written: "
                    f"{getattr(error, 'message', error)}"
                ) from error
