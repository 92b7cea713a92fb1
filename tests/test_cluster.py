"""A cluster: frozen rows divided among parameter servers, which do with them what is to be done.

One process has all members, each with a server of its own: what is sent between them is the same.
"""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from launch_local_cluster import free_hosts

import partial_embed as pe

ROWS, NEW, DIM, BATCH = 4000, 40, 8, 16
ROW_BYTES = 4 * DIM


@pytest.fixture(scope="module")
def cluster():
    """Four parameter servers and a worker: (spec, the worker's server, all servers)."""
    hosts = free_hosts(5)
    spec = tf.train.ClusterSpec({"ps": hosts[:4], "worker": hosts[4:]})
    servers = [tf.train.Server(spec, "ps", task) for task in range(4)]
    servers.append(tf.train.Server(spec, "worker", 0))
    return spec, servers[-1].target, servers


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """What one machine trained: a table, its slots, and a table that will not grow."""
    prefix = str(tmp_path_factory.mktemp("base") / "base.ckpt")
    random = np.random.RandomState(0)
    with tf.Graph().as_default(), tf.Session() as session:
        script(random.randn(ROWS, DIM).astype(np.float32), None, tf.train.Optimizer.minimize)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)
    return prefix


def script(entities, use_resource, minimize=pe.minimize):
    """A script: looks up in two tables, trains by Adam; entities are given, or how many."""
    count = isinstance(entities, int)
    with tf.variable_scope("", use_resource=use_resource):
        entity = tf.get_variable(
            "entity", [entities, DIM] if count else None, initializer=None if count else entities
        )
        relation = tf.get_variable("relation", [50, DIM], initializer=tf.ones_initializer())
    ids = tf.placeholder(tf.int64, [None], "ids")
    rows = tf.nn.embedding_lookup(entity, ids) * tf.nn.embedding_lookup(relation, ids % 50)
    loss = tf.reduce_sum(tf.square(rows - 1.0))
    step = tf.train.get_or_create_global_step()
    return ids, minimize(tf.train.AdamOptimizer(0.1), loss, global_step=step), entity


def grown(base, servers, use_resource):
    """Builds the script's graph, grown on so many servers; 0 for one machine."""
    place, divide = None, None
    if servers:
        place = tf.train.replica_device_setter(servers, worker_device="/job:worker/task:0")
        divide = tf.fixed_size_partitioner(servers)
    with tf.device(place):
        with pe.growing(
            base,
            initializers={"entity": tf.random_uniform_initializer(seed=3)},
            partitioner=divide,
            show=None,
        ):
            made = script(ROWS + NEW, use_resource)
        whole = pe.Saver(sharded=bool(servers))
        delta = pe.Saver(sharded=bool(servers), delta=True)
        hook = pe.FrozenRowsHook()
        hook.begin()
    return (*made, whole, delta, hook)


def session_of(cluster, servers=1):
    """A session without variables: those of another would still be on the servers."""
    if not servers:
        return tf.Session()
    tf.Session.reset(cluster[1])
    return tf.Session(cluster[1])


def batches(count):
    random = np.random.RandomState(5)
    return [random.randint(0, ROWS + NEW, BATCH) for _ in range(count)]


def tensors(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


class Traced:
    """A session that notes how many bytes its runs send from one task to another."""

    def __init__(self, session):
        self._session, self.most = session, 0
        self.graph = session.graph

    def run(self, fetches, feed_dict=None):
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        found = tf.RunMetadata()
        result = self._session.run(fetches, feed_dict, options, found)
        sent = [
            sum(out.tensor_description.allocation_description.requested_bytes for out in its.output)
            for device in found.step_stats.dev_stats
            for its in device.node_stats
            if its.node_name == "RecvTensor"
        ]
        self.most = max([self.most, *sent])
        return result


@pytest.mark.parametrize("use_resource", [False, True])
def test_servers_do_their_share_and_send_only_rows_asked_for(cluster, base, tmp_path, use_resource):
    ids, train, entity, whole, delta, hook = grown(base, 2, use_resource)
    assert {part.device for part in entity.frozen_parts} == {"/job:ps/task:0", "/job:ps/task:1"}
    assert {part.shape[0].value for part in entity.frozen_parts} == {ROWS // 2}
    rows = BATCH * (ROW_BYTES + 8)
    with session_of(cluster) as session:
        traced = Traced(session)
        traced.run(tf.global_variables_initializer())
        assert traced.most < rows  # Each server loads what it holds.
        for batch in batches(2):
            traced.run(train, {ids: batch})
        assert 0 < traced.most <= 2 * rows
        whole.save(traced, str(tmp_path / "whole"))
        delta.save(traced, str(tmp_path / "delta"))
        whole.restore(traced, str(tmp_path / "whole"))
        # Of frozen rows, their hashes alone pass through the client.
        traced.most = 0
        delta.restore(traced, str(tmp_path / "delta"))
        hook.after_create_session(traced, None)
        hook.end(traced)
        assert traced.most <= 12 * ROWS / 2


@pytest.mark.parametrize("use_resource", [False, True])
def test_it_is_as_on_one_machine(cluster, base, tmp_path, same_bits, use_resource):
    """One worker trains what one machine does; checkpoints of k servers are everybody's."""
    found, written = {}, {}
    for servers in (0, 1, 2, 4):
        with tf.Graph().as_default():
            ids, train, _, whole, delta, hook = grown(base, servers, use_resource)
            with session_of(cluster, servers) as session:
                session.run(tf.global_variables_initializer())
                hook.after_create_session(session, None)
                for batch in batches(6)[:3]:
                    session.run(train, {ids: batch})
                written[servers] = delta.save(session, str(tmp_path / f"delta-{servers}"))
                for batch in batches(6)[3:]:
                    session.run(train, {ids: batch})
                found[servers] = whole.save(session, str(tmp_path / f"whole-{servers}"))
                hook.end(session)
    wanted = tensors(found[0])
    assert wanted["entity"].shape == (ROWS + NEW, DIM)
    assert same_bits(wanted["entity"][:ROWS], tensors(base)["entity"])
    for servers, prefix in found.items():
        values = tensors(prefix)
        assert values.keys() == wanted.keys()
        assert all(same_bits(values[name], wanted[name]) for name in wanted), servers
    # From each number of servers to each other.
    for servers, other in ((0, 4), (1, 2), (2, 4), (4, 1), (4, 0)):
        with tf.Graph().as_default():
            ids, train, _, whole, delta, _ = grown(base, other, use_resource)
            with session_of(cluster, other) as session:
                delta.restore(session, written[servers])
                for batch in batches(6)[3:]:
                    session.run(train, {ids: batch})
                values = tensors(whole.save(session, str(tmp_path / "again")))
        assert all(same_bits(values[name], wanted[name]) for name in wanted), (servers, other)


def test_another_base_is_known_by_the_servers(cluster, base, tmp_path, write_checkpoint):
    with tf.Graph().as_default():
        *_, delta, _ = grown(base, 2, False)
        with session_of(cluster) as session:
            session.run(tf.global_variables_initializer())
            prefix = delta.save(session, str(tmp_path / "delta"))
    values = tensors(base)
    values["entity"][ROWS - 1, 0] += 1
    other = write_checkpoint(values, name="other.ckpt")
    *_, delta, _ = grown(other, 2, False)
    with session_of(cluster) as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(ValueError, match="the frozen rows differ"):
            delta.restore(session, prefix)


def test_slots_that_the_base_lacks_are_filled_by_the_servers(cluster, base, tmp_path):
    values = tensors(base)
    alone = str(tmp_path / "alone")
    with tf.Graph().as_default(), tf.Session() as session:
        for name in ("entity", "relation"):
            tf.get_variable(name, initializer=values[name])
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, alone)
    *_, whole, _, _ = grown(alone, 2, True)
    with session_of(cluster) as session:
        session.run(tf.global_variables_initializer())
        found = tensors(whole.save(session, str(tmp_path / "whole")))
    assert found["entity/Adam"].shape == (ROWS + NEW, DIM)
    assert not found["entity/Adam"][:ROWS].any() and os.path.exists(str(tmp_path / "whole.index"))
