"""`audit`: what each variable will get from a loss, said before the first step.

The facts are gathered once. Of them come a report for each variable, and from each `_check`
function the findings of one kind.
"""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed.files.runs import describe_runs, to_runs
from partial_embed.table.plan import with_rows
from partial_embed.table.report import listed, reports_in
from partial_embed.training.facts import gather, why_no_gradient
from partial_embed.training.graph import PLAIN_ASSIGN, source, users
from partial_embed.training.writers import moving_state

_LARGE_CONSTANT_BYTES = 1 << 20
_GATHERS = ("Gather", "GatherV2")


class VariableReport(namedtuple("VariableReport", ["name", "shape", "trains", "gradient", "why"])):
    """What one variable will get.

    Attributes:
        name: str, the variable's name.
        shape: list of ints.
        trains: bool, whether an optimizer is to move it.
        gradient: "none", "sparse", "dense", or "" where nothing trains.
        why: str, in words.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> reports = pe.audit(tf.reduce_sum(table.lookup([0, 6])), show=None).variables
        >>> [(report.name, report.trains, report.gradient) for report in reports]
        [('embedding/frozen:0', False, ''), ('embedding/trainable:0', True, 'sparse')]
    """


class Finding(namedtuple("Finding", ["subject", "problem", "remedy"])):
    """Something that will surprise.

    Attributes:
        subject: str, the variable, op or table it is about.
        problem: str, what is so.
        remedy: str, what to do.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> loss = tf.reduce_sum(table.lookup([0, 7]))
        >>> (finding,) = pe.audit(loss, ids=[6, 7], show=None).findings
        >>> finding.problem, finding.remedy
        ('ids 7 are outside the table of 7 rows', 'The ids seem to count from 1: subtract 1.')
    """


class Audit(namedtuple("Audit", ["variables", "findings"])):
    """What `audit` found; printed, it is a table.

    Attributes:
        variables: list of `VariableReport`.
        findings: list of `Finding`, empty if all is as it should be.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> found = pe.audit(tf.reduce_sum(table.lookup([0, 6])), show=None)
        >>> len(found.variables), found.findings
        (2, [])
    """

    def __str__(self):
        return self.text("All is well: new rows train, old rows stay.")

    def text(self, well):
        """Returns it as a table, with a last line that says that there are no findings."""
        rows = [("variable", "shape", "trains", "gradient", "why")]
        for report in self.variables:
            trains = "yes" if report.trains else "no"
            rows.append((report.name, str(report.shape), trains, report.gradient, report.why))
        widths = [max(len(row[i]) for row in rows) for i in range(4)] + [0]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        for number, (subject, problem, remedy) in enumerate(self.findings, 1):
            lines += ["", f"{number}. {subject}: {problem}", "   " + remedy]
        if not self.findings:
            lines += ["", well]
        return "\n".join(lines)


def audit(loss, optimizer=None, var_list=None, ids=None, embeddings=None, show=print):
    """Says which variables a loss will move, and why the others stay.

    Answers "why do my rows not change?" before the first step: the loss does
    not reach the table, the table is not in the `var_list`, no id in a batch is
    of a new row; and "what moves my old rows?": every op that can write to them.
    Call it when the graph is complete; it adds the gradients of `loss` to it.

    Args:
        loss: scalar tensor.
        optimizer: the optimizer that is to be used, if there is no training op yet.
        var_list: what is given to it as var_list. Default: what the training
            ops of the graph update; if it has none, or `optimizer` is given,
            the trainable variables.
        ids: a sample batch: an array of ids if there is one table, else a dict
            of table (or its name) to array.
        embeddings: `PartialEmbedding` or list of them; default: all in the graph.
        show: function that is given the result to print it; None for silence.

    Returns:
        An `Audit`.

    Raises:
        TypeError: if something in var_list is no variable.
        ValueError: if ids are given without saying of which table.

    Example:
        >>> table = pe.get_embedding("embedding", [7, 4], checkpoint="base.ckpt")
        >>> loss = tf.reduce_sum(table.lookup([0, 1]))
        >>> found = pe.audit(loss, ids=[0, 1])
        variable               shape   trains  gradient  why
        embedding/frozen:0     [5, 4]  no      ...
        embedding/trainable:0  [2, 4]  yes     sparse    rows that are in the batch
        <BLANKLINE>
        1. embedding: none of the 2 ids of the sample is of a row that trains (5-6)
           The ids of new rows seem to count from 0: add 5.
    """
    with loss.graph.as_default():
        facts = gather(loss, optimizer, var_list, ids, embeddings)
        findings = [finding for check in _CHECKS for finding in check(facts)]
    result = Audit(_reports(facts), findings)
    if show is not None:
        show(result)
    return result


def _reports(facts):
    reports = [
        VariableReport(variable.name, variable.shape.as_list(), False, "", why)
        for variable, why in facts.frozen.values()
    ]
    for name, (variable, gradient) in facts.gradients.items():
        if gradient is None:
            kind, why = "none", why_no_gradient(variable, facts.above)
        elif isinstance(gradient, tf.IndexedSlices):
            kind, why = "sparse", "rows that are in the batch"
            if facts.adam:
                why += "; Adam goes on moving rows that were in earlier ones"
        else:
            kind, why = "dense", "all of it at every step"
        trains = name in facts.trained
        why = why if trains else f"{facts.left_out}; {why}"
        reports.append(VariableReport(variable.name, variable.shape.as_list(), trains, kind, why))
    return reports


def _check_frozen(facts):
    leave_out = "Leave it out of the var_list, as minimize(optimizer, loss) does."
    only_new = (
        "Let it write to new rows only, the table's .trainable. Such ops normalise or clip a "
        "table, put its moving average in place, or take a gradient by hand."
    )
    for name, (variable, _) in facts.frozen.items():
        writers = facts.writers.get(name, ())
        if not writers and name in facts.trained:
            yield Finding(variable.name, "it holds frozen rows, and is to be trained", leave_out)
        for op in writers:
            yield Finding(
                variable.name,
                f"the op {op.name} ({op.type}) can write to frozen rows",
                leave_out if "Apply" in op.type else only_new,
            )


def _check_new_rows(facts):
    if not facts.embeddings:
        yield Finding(
            "the graph",
            "it has no table with new rows",
            "Build the model under growing(), or make the table with get_embedding().",
        )
    for embedding in facts.embeddings:
        variable = embedding.trainable
        if variable is None:
            yield Finding(
                embedding.table_name,
                "it has no new rows, so nothing of it trains",
                "Ask for more rows than the checkpoint holds, or name trainable_rows=.",
            )
            continue
        if facts.gradients[variable.op.name][1] is None:
            yield Finding(
                variable.name,
                f"new rows will not change: {why_no_gradient(variable, facts.above)}",
                "Let the loss depend on what embedding.lookup(ids) or tf.nn.embedding_lookup give, "
                "not on a copy, another table, or a fetched value.",
            )
        if variable.op.name not in facts.trained:
            yield Finding(
                variable.name,
                f"new rows will not change: {facts.left_out}",
                "Add the table's .trainable to the var_list, or use minimize(optimizer, loss).",
            )
        writers = facts.writers.get(variable.op.name, ())
        # An optimizer itself assigns what a constraint makes of its update.
        if len(writers) > 1 + (getattr(variable, "constraint", None) is not None):
            yield Finding(
                variable.name,
                f"several ops write to it: {', '.join(op.name for op in writers[:5])}",
                "If two optimizers train it, both will move it; if one is an assignment, it may "
                "undo what is learned.",
            )


def _check_loaded(facts):
    for report in reports_in():
        prefix = report.checkpoint.prefix
        for name in report.not_loaded(tf.get_default_graph()):
            yield Finding(
                name,
                f"it starts afresh, though {prefix} holds it",
                "Make it while growing is open, with its own name, or say skip=.",
            )
        untaken = report.untaken()
        if untaken:
            yield Finding(
                prefix,
                f"nobody took {listed(untaken)} of it",
                "If it has another name here, say growing(..., names={name here: name there}).",
            )
    for name, _, ops in moving_state(facts.writers):
        yield Finding(
            name,
            f"the script's own updates move it ({ops[0].name}), and with it what old rows score",
            f"To keep old predictions bit for bit, say growing(..., hold={name!r}).",
        )


def _check_padding(facts):
    for embedding in facts.embeddings:
        plan, base = embedding.plan, embedding.source
        grown = (
            base is not None and plan.source is None and plan.num_rows > plan.checkpoint_rows > 1
        )
        if not (grown and base.dtypes[embedding.tensor_name].is_floating):
            continue
        last = plan.checkpoint_rows - 1
        if not base.read_row(embedding.tensor_name, last, plan.axis).any():
            yield Finding(
                embedding.table_name,
                f"row {last}, the last old one, is all zeros, as a row for padding is",
                f"If padding is the last row, it is row {plan.num_rows - 1} here, a new one. Keep "
                "its id, or say vocabularies=(old, new, num_oov_buckets).",
            )


def _check_whole_reads(facts):
    for op in facts.operations:
        if op.type not in ("ConcatV2", "DynamicStitch") or op not in facts.above:
            continue
        joined = {source(tensor) for tensor in op.inputs}
        for partitions in [found for found in joined if found.type == "ConcatV2"]:
            joined.update(source(tensor) for tensor in partitions.inputs)
        for embedding in facts.embeddings:
            if embedding.frozen_parts and joined.issuperset(v.op for v in embedding.variables):
                wasting = users(op.outputs[0]) & facts.above - _products(embedding, op.outputs[0])
                if not wasting:
                    continue
                names, rows = sorted(user.name for user in wasting), embedding.plan.num_rows
                yield Finding(
                    embedding.table_name,
                    f"it is read whole ({', '.join(names[:3]) or op.name}): {rows} "
                    "rows at every step, though only new ones learn",
                    "Values and gradients are right, but for weight decay take the rows of the "
                    "batch or the table's .trainable, for scores against all embedding.matmul(x).",
                )


def _products(embedding, whole):
    """The products of a whole table with a batch for which it does not pay to keep halves apart."""
    found = {op for op in users(whole) if op.type == "MatMul" and embedding.joins_for(op.inputs[0])}
    handed_on = set().union(*[users(op.outputs[0]) for op in found])
    return found | {op for op in handed_on if op.type == "IdentityN"}  # by matmul itself


def _check_samples(facts):
    for embedding, sample in facts.samples:
        name, rows = embedding.table_name, embedding.plan.num_rows
        outside = np.unique(sample[(sample < 0) | (sample >= rows)])
        if outside.size:
            remedy = f"Ids go from 0 to {rows - 1}; give the table more rows, or mend the ids."
            if outside.tolist() == [rows] and sample.min() >= 1:
                remedy = "The ids seem to count from 1: subtract 1."
            outside = describe_runs(to_runs(outside))
            yield Finding(name, f"ids {outside} are outside the table of {rows} rows", remedy)
        new = embedding.plan.trainable_rows
        if len(new) and not np.isin(sample, new).any():
            remedy = "Feed batches that hold new rows; old ones alone move nothing."
            from_zero = sample.size and np.isin(sample, np.arange(len(new))).all()
            if embedding.plan.contiguous and from_zero:
                remedy = f"The ids of new rows seem to count from 0: add {new[0]}."
            yield Finding(
                name,
                f"none of the {sample.size} ids of the sample is of a row that trains "
                f"({describe_runs(to_runs(new))})",
                remedy,
            )


def _check_constants(facts):
    tables = [
        with_rows(e.shape.as_list(), e.plan.axis, rows)
        for e in facts.embeddings
        for rows in (e.plan.num_rows, e.num_frozen_rows)
    ]
    for op in facts.operations:
        if op.type != "Const" or not op.outputs[0].dtype.is_floating:
            continue
        tensor = op.outputs[0]
        count = tensor.shape.num_elements()
        a_table = tensor.shape.as_list() in tables and _becomes_a_table(tensor)
        large = count * tensor.dtype.size >= _LARGE_CONSTANT_BYTES
        if large:  # Of equal numbers the graph holds one.
            large = op.node_def.ByteSize() >= _LARGE_CONSTANT_BYTES
        if large or a_table:
            also = ", as many as a table" if a_table else ""
            yield Finding(
                op.name,
                f"a constant of the graph holds {count} numbers{also}",
                "It is stored in the graph, which cannot pass 2 GB. Load it by checkpoint=, or "
                "row_init.values_from(array).",
            )


def _becomes_a_table(tensor):
    """Whether a constant that varies is what a variable starts from, or is looked up."""
    if {op.type for op in users(tensor)}.isdisjoint(PLAIN_ASSIGN + _GATHERS):
        return False
    value = tf.get_static_value(tensor)
    return value is not None and bool((value != np.ravel(value)[:1]).any())


_CHECKS = (
    _check_frozen,
    _check_new_rows,
    _check_loaded,
    _check_padding,
    _check_whole_reads,
    _check_samples,
    _check_constants,
)
