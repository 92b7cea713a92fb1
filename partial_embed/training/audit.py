"""`audit`: what each variable will get from a loss, said before the first step."""

from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import Variable
from partial_embed.files.runs import describe_runs, to_runs
from partial_embed.table.embedding import PartialEmbedding, embeddings_in, frozen_variables_in
from partial_embed.training.graph import (
    KEEPS_VALUES,
    PLAIN_ASSIGN,
    blocked_by,
    find_writers,
    source,
    upstream,
    users,
)
from partial_embed.training.minimize import expand

_LARGE_CONSTANT_BYTES = 1 << 20
_GATHERS = ("Gather", "GatherV2")
_ASSIGN_ONLY_NEW = (
    "Let it write to new rows only, the table's .trainable. Such ops normalise or clip a table, "
    "put its moving average in place, or take a gradient by hand."
)

VariableReport = namedtuple("VariableReport", ["name", "shape", "trains", "gradient", "why"])
VariableReport.__doc__ = """What one variable will get.

Attributes:
    name: str, the variable's name.
    shape: list of ints.
    trains: bool, whether an optimizer is to move it.
    gradient: "none", "sparse", "dense", or "" where nothing trains.
    why: str, in words.
"""

Finding = namedtuple("Finding", ["subject", "problem", "remedy"])
Finding.__doc__ = """Something that will surprise.

Attributes:
    subject: str, the variable, op or table it is about.
    problem: str, what is so.
    remedy: str, what to do.
"""


class Audit(namedtuple("Audit", ["variables", "findings"])):
    """What `audit` found; printed, it is a table.

    Attributes:
        variables: list of `VariableReport`.
        findings: list of `Finding`, empty if all is as it should be.
    """

    def __str__(self):
        rows = [("variable", "shape", "trains", "gradient", "why")]
        for report in self.variables:
            trains = "yes" if report.trains else "no"
            rows.append((report.name, str(report.shape), trains, report.gradient, report.why))
        widths = [max(len(row[i]) for row in rows) for i in range(4)] + [0]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        for number, (subject, problem, remedy) in enumerate(self.findings, 1):
            lines += ["", f"{number}. {subject}: {problem}", "   " + remedy]
        return "\n".join(
            lines if self.findings else lines + ["", "All is well: new rows train, old rows stay."]
        )


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
    """
    with loss.graph.as_default():
        if embeddings is None:
            embeddings = embeddings_in()
        elif isinstance(embeddings, PartialEmbedding):
            embeddings = [embeddings]
        result = _Auditor(loss, optimizer, var_list, embeddings).run(ids)
    if show is not None:
        show(result)
    return result


class _Auditor:
    def __init__(self, loss, optimizer, var_list, embeddings):
        self.loss, self.optimizer, self.embeddings = loss, optimizer, embeddings
        self.findings = []
        self.operations = loss.graph.get_operations()
        self.above = upstream([loss], control=False)
        self.writers = find_writers(self.operations)
        self.frozen = [
            (part, f"{part.shape.as_list()[0]} frozen rows of {embedding.table_name}")
            for embedding in embeddings
            for part in embedding.frozen_parts
        ]
        for variable, _ in frozen_variables_in():
            self.frozen += [(part, "frozen whole by growing") for part in expand(variable, [])]
        tables = [e.trainable for e in embeddings if e.trainable is not None]
        trainable = [v for v in tf.trainable_variables() if isinstance(v, Variable)]
        # A plain assignment loads a variable, and trains none.
        moved = [
            v
            for v in tf.global_variables() + tables
            for types in [{op.type for op in self._writers(v)}.difference(PLAIN_ASSIGN)]
            if "Apply" in " ".join(types) or (types and _is_in(v, tables + trainable))
        ]
        if var_list is not None:
            items = list(var_list) if isinstance(var_list, (list, tuple)) else [var_list]
            self.trained = [v for item in items for v in expand(item, embeddings)]
            self.left_out = "not in the var_list"
        elif moved and optimizer is None:
            self.trained, self.left_out = moved, "no training op updates it"
        else:
            self.trained, self.left_out = trainable, "not trainable"
        frozen = [variable for variable, _ in self.frozen]
        self.variables = []
        for variable in self.trained + tables + trainable:
            if not _is_in(variable, self.variables + frozen):
                self.variables.append(variable)

    def run(self, ids):
        reports = [self._report_frozen(variable, why) for variable, why in self.frozen]
        gradients = self._gradients(self.variables)
        reports += [self._report(*pair) for pair in zip(self.variables, gradients)]
        if not self.embeddings:
            remedy = "Build the model under growing(), or make the table with get_embedding()."
            self._find("the graph", "it has no table with new rows", remedy)
        for embedding in self.embeddings:
            self._check_table(embedding, gradients)
            self._check_whole_reads(embedding)
        for embedding, sample in self._samples(ids):
            self._check_sample(embedding, sample)
        self._check_constants()
        return Audit(reports, self.findings)

    def _find(self, subject, problem, remedy):
        self.findings.append(Finding(subject, problem, remedy))

    def _writers(self, variable):
        return self.writers.get(variable.op.name, [])

    # --- variables --------------------------------------------------------------

    def _gradients(self, variables):
        try:
            with tf.name_scope("partial_embed_audit"):
                return tf.gradients(self.loss, variables) if variables else []
        except LookupError:  # an op in between that nobody gave a gradient
            if len(variables) == 1:
                return [None]
            return [self._gradients([variable])[0] for variable in variables]

    def _report_frozen(self, variable, why):
        leave_out = "Leave it out of the var_list, as minimize(optimizer, loss) does."
        writers = self._writers(variable)
        if not writers and _is_in(variable, self.trained):
            self._find(variable.name, "it holds frozen rows, and is to be trained", leave_out)
        for op in writers:
            self._find(
                variable.name,
                f"the op {op.name} ({op.type}) can write to frozen rows",
                leave_out if "Apply" in op.type else _ASSIGN_ONLY_NEW,
            )
        return VariableReport(variable.name, variable.shape.as_list(), False, "", why)

    def _report(self, variable, gradient):
        trains = _is_in(variable, self.trained)
        if gradient is None:
            kind, why = "none", self._why_no_gradient(variable)
        elif isinstance(gradient, tf.IndexedSlices):
            kind, why = "sparse", "rows that are in the batch"
            if isinstance(self.optimizer, tf.train.AdamOptimizer):
                why += "; Adam goes on moving rows that were in earlier ones"
        else:
            kind, why = "dense", "all of it at every step"
        why = why if trains else f"{self.left_out}; {why}"
        return VariableReport(variable.name, variable.shape.as_list(), trains, kind, why)

    def _why_no_gradient(self, variable):
        if variable.op not in self.above:
            return "the loss does not reach it"
        stops = blocked_by(variable.op, self.above)
        if not stops:
            return "the loss reaches it by no op that has a gradient"
        return "no gradient passes {}".format(" and ".join(stops[:3]))

    # --- tables -----------------------------------------------------------------

    def _check_table(self, embedding, gradients):
        name, variable = embedding.table_name, embedding.trainable
        if variable is None:
            remedy = "Ask for more rows than the checkpoint holds, or name trainable_rows=."
            self._find(name, "it has no new rows, so nothing of it trains", remedy)
            return
        position = [known is variable for known in self.variables].index(True)
        if gradients[position] is None:
            self._find(
                variable.name,
                f"new rows will not change: {self._why_no_gradient(variable)}",
                "Let the loss depend on what embedding.lookup(ids) or tf.nn.embedding_lookup give, "
                "not on a copy, another table, or a fetched value.",
            )
        if not _is_in(variable, self.trained):
            self._find(
                variable.name,
                f"new rows will not change: {self.left_out}",
                "Add the table's .trainable to the var_list, or use minimize(optimizer, loss).",
            )
        writers = self._writers(variable)
        # An optimizer itself assigns what a constraint makes of its update.
        if len(writers) > 1 + (getattr(variable, "constraint", None) is not None):
            self._find(
                variable.name,
                "several ops write to it: {}".format(", ".join(op.name for op in writers[:5])),
                "If two optimizers train it, both will move it; if one is an assignment, it may "
                "undo what is learned.",
            )

    def _check_whole_reads(self, embedding):
        parts = {part.op for part in embedding.variables}
        for op in self.above if embedding.frozen_parts else ():
            if op.type not in ("ConcatV2", "DynamicStitch"):
                continue
            joined = {source(tensor) for tensor in op.inputs}
            for partitions in [found for found in joined if found.type == "ConcatV2"]:
                joined.update(source(tensor) for tensor in partitions.inputs)
            if parts <= joined:
                names = sorted(op.name for op in users(op.outputs[0], KEEPS_VALUES) & self.above)
                problem = "it is read whole ({}): {} rows at every step, though only new ones learn"
                self._find(
                    embedding.table_name,
                    problem.format(", ".join(names[:3]) or op.name, embedding.shape[0]),
                    "Values and gradients are right, but for weight decay take the rows of the "
                    "batch or the table's .trainable, for scores against all embedding.matmul(x).",
                )

    # --- ids and constants --------------------------------------------------------

    def _samples(self, ids):
        """Returns [(table, its ids in the sample), ...]."""
        by_name = {e.table_name: e for e in self.embeddings}
        names = ", ".join(sorted(by_name))
        if ids is not None and not isinstance(ids, dict):
            if not by_name:
                raise ValueError(
                    "There is no PartialEmbedding in this graph, so it cannot be said of which "
                    "rows the ids are. Make the table with growing or get_embedding."
                )
            if len(by_name) != 1:
                problem = "The graph has {} tables ({}); give ids as a dict of table name to ids."
                raise ValueError(problem.format(len(by_name), names))
            ids = {self.embeddings[0]: ids}
        found = []
        for table, sample in (ids or {}).items():
            name = table.table_name if isinstance(table, PartialEmbedding) else table
            if name not in by_name:
                raise ValueError(f"No table {name!r}; there are: {names}.")
            found.append((by_name[name], np.ravel(np.asarray(sample))))
        return found

    def _check_sample(self, embedding, sample):
        name, rows = embedding.table_name, embedding.plan.num_rows
        new = embedding.plan.trainable_rows
        outside = np.unique(sample[(sample < 0) | (sample >= rows)])
        if outside.size:
            problem = "ids {} are outside the table of {} rows"
            remedy = "Ids go from 0 to {}; give the table more rows, or mend the ids."
            if outside.tolist() == [rows] and sample.min() >= 1:
                remedy = "The ids seem to count from 1: subtract 1."
            problem = problem.format(describe_runs(to_runs(outside)), rows)
            self._find(name, problem, remedy.format(rows - 1))
        if len(new) and not np.isin(sample, new).any():
            problem = "none of the {} ids of the sample is of a row that trains ({})"
            remedy = "Feed batches that hold new rows; old ones alone move nothing."
            from_zero = sample.size and np.isin(sample, np.arange(len(new))).all()
            if embedding.plan.contiguous and from_zero:
                remedy = f"The ids of new rows seem to count from 0: add {new[0]}."
            self._find(name, problem.format(sample.size, describe_runs(to_runs(new))), remedy)

    def _check_constants(self):
        tables = {
            (rows,) + tuple(e.shape.as_list()[1:])
            for e in self.embeddings
            for rows in (e.plan.num_rows, e.num_frozen_rows)
        }
        for op in self.operations:
            if op.type != "Const" or not op.outputs[0].dtype.is_floating:
                continue
            tensor = op.outputs[0]
            count = tensor.shape.num_elements()
            large = count * tensor.dtype.size >= _LARGE_CONSTANT_BYTES
            a_table = tuple(tensor.shape.as_list()) in tables and _becomes_a_table(tensor)
            if large or a_table:
                problem = "a constant of the graph holds {} numbers{}"
                self._find(
                    op.name,
                    problem.format(count, ", as many as a table" if a_table else ""),
                    "It is stored in the graph, which cannot pass 2 GB. Load it by checkpoint=, or "
                    "row_init.values_from(array).",
                )


def _is_in(variable, variables):
    """Whether it is one of them; == of some variables compares their values."""
    return any(variable is known for known in variables)


def _becomes_a_table(tensor):
    """Whether a constant that varies is what a variable starts from, or is looked up."""
    kinds = {op.type for op in users(tensor)}
    if kinds.isdisjoint(PLAIN_ASSIGN + _GATHERS):
        return False
    value = tf.get_static_value(tensor)
    return value is not None and bool((value != np.ravel(value)[:1]).any())
