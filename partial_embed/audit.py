"""`audit`: what each variable will get from a loss, said before the first step."""

import re
import sys
from collections import namedtuple

import numpy as np
import tensorflow.compat.v1 as tf

from partial_embed._tensorflow import Variable, get_gradient_function
from partial_embed.embedding import PartialEmbedding, embeddings_in, frozen_variables_in
from partial_embed.minimize import expand, upstream
from partial_embed.plan import describe_runs, to_runs

_WRITES = re.compile(
    r"Assign|Scatter(Add|Sub|Mul|Div|Min|Max|Update|Nd(Add|Sub|Update))"
    r"|(Sparse)?Apply[A-Z]|AssignVariableOp"
)
_READS = ("Identity", "ReadVariableOp")
_LARGE_CONSTANT_BYTES = 1 << 20

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
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
            for row in rows
        ]
        for number, finding in enumerate(self.findings, 1):
            lines += ["", "{}. {}: {}".format(number, finding.subject, finding.problem),
                      "   " + finding.remedy]
        if not self.findings:
            lines += ["", "Nothing to remark: new rows train, frozen rows stay."]
        return "\n".join(lines)


def audit(loss, optimizer=None, var_list=None, ids=None, embeddings=None, stream=sys.stdout):
    """Says which variables a loss will move, and why the others stay.

    Answers "why do my rows not change?" before the first step: the loss does
    not reach the table, the table is not in the `var_list`, no id in a batch is
    of a new row; and "what moves my old rows?": every op that can write to them.
    Call it when the graph is complete; it adds the gradients of `loss` to it.

    Args:
        loss: scalar tensor.
        optimizer: the optimizer that is to be used, if there is no training op yet.
        var_list: what is given to it as var_list; default: the trainable variables.
        ids: a sample batch: an array of ids if there is one table, else a dict
            of table name to array.
        embeddings: list of `PartialEmbedding`s; default: all in the graph.
        stream: where the table is printed; None for nowhere.

    Returns:
        An `Audit`.

    Raises:
        ValueError: if ids are given without saying of which table.
    """
    graph = loss.graph
    with graph.as_default():
        return _Auditor(loss, optimizer, var_list, embeddings).run(ids, stream)


class _Auditor:
    def __init__(self, loss, optimizer, var_list, embeddings):
        self.graph, self.loss, self.optimizer = loss.graph, loss, optimizer
        self.embeddings = embeddings_in(self.graph) if embeddings is None else list(embeddings)
        self.findings = []
        self.operations = self.graph.get_operations()
        self.above = upstream([loss], control=False)
        self.given = var_list is not None
        if self.given:
            items = list(var_list) if isinstance(var_list, (list, tuple)) else [var_list]
            self.trained = [v for item in items for v in expand(item, self.embeddings)]
        else:
            self.trained = tf.trainable_variables()
        self.writers = self._find_writers()

    def run(self, ids, stream):
        variables = list(self.trained)
        for embedding in self.embeddings:
            if embedding.trainable is not None:
                variables.append(embedding.trainable)
        variables += [v for v in tf.trainable_variables() if isinstance(v, Variable)]
        unique = list({id(variable): variable for variable in variables}.values())
        with tf.name_scope("partial_embed_audit"):
            gradients = tf.gradients(self.loss, unique) if unique else []
        reports = []
        for embedding in self.embeddings:
            for part in embedding.frozen_parts:
                reports.append(self._frozen(part, "{} frozen rows of {}".format(
                    part.shape.as_list()[0], embedding.table_name)))
        for variable, _ in frozen_variables_in(self.graph):
            reports.append(self._frozen(variable, "frozen whole by growing"))
        for variable, gradient in zip(unique, gradients):
            reports.append(self._report(variable, gradient))
        for embedding in self.embeddings:
            self._check_table(embedding, dict(zip(map(id, unique), gradients)))
        self._check_ids(ids)
        self._check_constants()
        result = Audit(reports, self.findings)
        if stream is not None:
            print(result, file=stream)
        return result

    def _find(self, subject, problem, remedy):
        self.findings.append(Finding(subject, problem, remedy))

    # --- variables --------------------------------------------------------------

    def _frozen(self, variable, why):
        for op in self.writers.get(variable.op.name, ()):
            self._find(
                variable.name,
                "the op {} ({}) can write to frozen rows".format(op.name, op.type),
                "Take it away, or let it write to new rows only: it is an assign, a constraint, a "
                "clip, a moving average or an optimizer that was given this variable.",
            )
        return VariableReport(variable.name, variable.shape.as_list(), False, "", why)

    def _report(self, variable, gradient):
        trains = any(variable is known for known in self.trained)
        kind, why = "none", ""
        if gradient is None:
            why = self._why_no_gradient(variable)
        elif isinstance(gradient, tf.IndexedSlices):
            kind, why = "sparse", "rows that are in the batch"
            if type(self.optimizer).__name__ == "AdamOptimizer":
                why += "; Adam goes on moving rows that were in earlier ones"
        else:
            kind, why = "dense", "all of it at every step"
        if not trains:
            why = "not in the var_list; " + why if self.given else "not trainable; " + why
        return VariableReport(variable.name, variable.shape.as_list(), trains, kind, why)

    def _why_no_gradient(self, variable):
        if variable.op not in self.above:
            return "the loss does not reach it"
        stops = [
            op.name for op in self._between(variable)
            if op.type in ("StopGradient", "PreventGradient") or not _differentiable(op)
        ]
        if stops:
            return "no gradient passes {}".format(" and ".join(sorted(stops)[:3]))
        return "the loss reaches it by no op that has a gradient"

    def _between(self, variable):
        """The ops on the ways from a variable to the loss."""
        found, todo = set(), [variable.op]
        while todo:
            for output in todo.pop().outputs:
                for op in output.consumers():
                    if op in self.above and op not in found:
                        found.add(op)
                        todo.append(op)
        return found

    # --- tables -----------------------------------------------------------------

    def _check_table(self, embedding, gradients):
        name, variable = embedding.table_name, embedding.trainable
        if variable is None:
            self._find(name, "it has no new rows, so nothing of it trains",
                       "Ask for more rows than the checkpoint holds, or name trainable_rows=.")
            return
        if gradients[id(variable)] is None:
            self._find(
                variable.name,
                "new rows will not change: {}".format(self._why_no_gradient(variable)),
                "Let the loss depend on lookups of {}: embedding.lookup(ids) or "
                "tf.nn.embedding_lookup, not a copy, another table, or a fetched value.".format(
                    name),
            )
        elif not any(variable is known for known in self.trained):
            self._find(
                variable.name,
                "it is not {}, so new rows will not change".format(
                    "in the var_list" if self.given else "trainable"),
                "Add {}.trainable to the var_list, or use minimize(optimizer, loss).".format(name),
            )
        writers = self.writers.get(variable.op.name, [])
        if not writers and self.optimizer is None and self._anything_trains():
            self._find(
                variable.name,
                "the graph has training ops, and none of them updates it",
                "Add {}.trainable to the var_list of the optimizer, or use minimize(optimizer, "
                "loss).".format(name),
            )
        if len(writers) > 1:
            self._find(
                variable.name,
                "several ops write to it: {}".format(", ".join(op.name for op in writers[:5])),
                "If two optimizers train it, both will move it; if one is an assign, it may undo "
                "what is learned.",
            )
        self._check_whole_reads(embedding)

    def _anything_trains(self):
        return any("Apply" in op.type for ops in self.writers.values() for op in ops)

    def _check_whole_reads(self, embedding):
        parts = {part.op for part in embedding.variables}
        for op in self.above:
            sources = {_source(tensor) for tensor in op.inputs}
            if op.type == "ConcatV2" and embedding.frozen_parts and parts <= sources:
                users = sorted({user.name for out in op.outputs for user in out.consumers()
                                if user in self.above})
                self._find(
                    embedding.table_name,
                    "it is read whole ({}): {} rows at every step, though only new ones learn".format(
                        ", ".join(users[:3]) or op.name, embedding.plan.num_rows),
                    "For weight decay use the rows of the batch or {}.trainable; for scores "
                    "against all rows embedding.matmul(x). Values and gradients are right as it "
                    "is.".format(embedding.table_name),
                )

    def _find_writers(self):
        """Returns {variable op name: ops that write to it}, loading and restoring apart."""
        targets = {op.name for op in self.operations
                   if op.type in ("VariableV2", "Variable", "VarHandleOp")}
        initializers = {v.initializer.name for v in tf.global_variables()}
        writers = {}
        for op in self.operations:
            if not op.inputs or not _WRITES.search(op.type) or op.name in initializers:
                continue
            target = _source(op.inputs[0])
            if target.name in targets and not self._restores(op):
                writers.setdefault(target.name, []).append(op)
        return writers

    def _restores(self, op):
        if "partial_embed_restore" in op.name:
            return True
        if not op.type.startswith("Assign") or len(op.inputs) < 2:
            return False
        value = _source(op.inputs[1])
        while value.type in ("Identity", "Reshape", "Cast") and value.inputs:
            value = value.inputs[0].op
        return value.type in ("RestoreV2", "Restore", "RestoreSlice")

    # --- ids and constants --------------------------------------------------------

    def _check_ids(self, ids):
        if ids is None:
            return
        if not isinstance(ids, dict):
            if len(self.embeddings) != 1:
                raise ValueError(
                    "The graph has {} tables ({}); give ids as a dict of table name to "
                    "ids.".format(len(self.embeddings),
                                  ", ".join(e.table_name for e in self.embeddings))
                )
            ids = {self.embeddings[0].table_name: ids}
        by_name = {e.table_name: e for e in self.embeddings}
        for name, sample in ids.items():
            name = name.table_name if isinstance(name, PartialEmbedding) else name
            if name not in by_name:
                raise ValueError(
                    "No table {!r}; there are: {}.".format(name, ", ".join(sorted(by_name)))
                )
            self._check_sample(by_name[name], np.ravel(np.asarray(sample)))

    def _check_sample(self, embedding, sample):
        name, plan = embedding.table_name, embedding.plan
        outside = sample[(sample < 0) | (sample >= plan.num_rows)]
        if outside.size:
            from_one = outside.min() == outside.max() == plan.num_rows and sample.min() >= 1
            self._find(
                name,
                "ids {} are outside the table of {} rows".format(
                    describe_runs(to_runs(np.unique(outside))), plan.num_rows),
                "The ids seem to count from 1: subtract 1." if from_one
                else "Ids go from 0 to {}; give the table more rows, or mend the ids.".format(
                    plan.num_rows - 1),
            )
        if plan.trainable_rows.size and not np.isin(sample, plan.trainable_rows).any():
            counted_from_zero = sample.size and sample.max() < plan.trainable_rows.size
            self._find(
                name,
                "none of the {} ids of the sample is of a row that trains ({})".format(
                    sample.size, describe_runs(to_runs(plan.trainable_rows))),
                "The ids of new rows seem to count from 0: add {}.".format(plan.num_frozen_rows)
                if counted_from_zero and plan.contiguous
                else "Feed batches that hold new rows; old ones alone move nothing.",
            )

    def _check_constants(self):
        tables = {
            (rows,) + tuple(e.shape.as_list()[1:])
            for e in self.embeddings
            for rows in (e.plan.num_rows, e.num_frozen_rows)
        }
        for op in self.operations:
            if op.type != "Const" or not op.outputs[0].shape.is_fully_defined():
                continue
            tensor = op.outputs[0]
            shape = tuple(tensor.shape.as_list())
            size = tensor.shape.num_elements() * max(tensor.dtype.size, 1)
            a_table = len(shape) > 1 and shape in tables and _varies(tensor)
            if size >= _LARGE_CONSTANT_BYTES or a_table:
                self._find(
                    op.name,
                    "a constant of the graph holds {} numbers, {}".format(
                        tensor.shape.num_elements(),
                        "as many as a table" if a_table else "{:.0f} MB".format(size / 2**20)),
                    "It is stored in the graph, which cannot pass 2 GB. Load it by checkpoint=, or "
                    "row_init.values_from(array).",
                )


def _source(tensor):
    """The op a value comes from, through reads of a variable."""
    op = tensor.op
    while op.type in _READS and op.inputs:
        op = op.inputs[0].op
    return op


def _differentiable(op):
    try:
        return get_gradient_function(op) is not None
    except LookupError:
        return False


def _varies(tensor):
    value = tf.get_static_value(tensor)
    return value is not None and value.size > 0 and bool((value != np.ravel(value)[0]).any())
