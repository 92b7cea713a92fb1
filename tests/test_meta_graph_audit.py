"""`audit_meta_graph`, and the command: what can be done with a model's files."""

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from partial_embed.command import main
from partial_embed.meta_graph_audit import audit_meta_graph


def by_name(found):
    return {report.name: report for report in found.variables}


def test_which_tables_can_grow(data):
    prefix = data("legacy", "lookups.ckpt")
    found = audit_meta_graph(prefix + ".meta", prefix)
    reports = by_name(found)
    assert reports["model/embedding"].why == "can grow: its rows are looked up"
    assert reports["model/embedding"].shape == [6, 4]
    assert not reports["model/successor"].trains
    assert reports["model/weight"].why.startswith("cannot grow: Dimensions must be equal, but are")
    assert reports["model/weight"].why.endswith("in MatMul")
    assert found.findings == []


def test_with_its_loss(data):
    prefix = data("legacy", "lookups.ckpt")
    found = audit_meta_graph(prefix + ".meta", prefix, {"model/embedding": 8}, "loss")
    assert by_name(found)["model/embedding/trainable:0"].gradient == "sparse"
    assert found.findings == []
    with pytest.raises(ValueError, match="no operation 'lost', which outputs= names"):
        audit_meta_graph(prefix + ".meta", prefix, {"model/embedding": 8}, "lost")
    with pytest.raises(ValueError, match="no variable 'none'"):
        audit_meta_graph(prefix + ".meta", prefix, {"none": 8})


def test_what_does_not_fit(tmp_path, write_checkpoint):
    values = np.random.RandomState(0).randn(600, 512).astype(np.float32)
    with tf.Graph().as_default():
        table = tf.get_variable("ent", [6, 2])
        tf.get_variable("absent", [6, 2])
        tf.add(tf.gather(table, [0]), tf.reduce_sum(tf.constant(values, name="large")))
        meta = tf.train.export_meta_graph()
    prefix = write_checkpoint({"ent": np.ones([7, 2], np.float32), "other": np.ones([2, 2])})
    found = audit_meta_graph(meta, prefix)
    told = {finding.subject: finding.problem for finding in found.findings}
    assert told["ent"] == "it is [6, 2] in the graph and [7, 2] in the checkpoint"
    assert told["absent"] == "the checkpoint does not hold it"
    assert told[prefix].startswith("it holds other, and no variable")
    assert told["large"].startswith("a constant of 1 MB")


def test_the_command(data, capsys):
    prefix = data("legacy", "lookups.ckpt")

    def run(*words):
        arguments = main.parser().parse_args(["audit", prefix + ".meta", prefix, *words])
        status = arguments.module.run(arguments)
        return status, capsys.readouterr().out

    status, output = run()
    assert status == 0
    assert output.endswith("\n\nThe files fit each other.\n")
    status, output = run("--rows=model/embedding=8", "--loss=loss", "--json")
    assert status == 0
    assert json.loads(output)["findings"] == []
