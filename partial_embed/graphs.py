"""Graphs that are made, or entered, while something is open; and what is said before they run.

A script's class opens `tf.Graph().as_default()` by itself, as Estimators do, and a
scope of variables belongs to one graph. So public methods of TensorFlow are replaced
for a while, and put back: `tf.Graph.__init__`, `tf.Graph.as_default`, and, what ends the
making of a graph, `tf.Graph.finalize` and `run` of sessions.
"""

import contextlib
import weakref

import tensorflow.compat.v1 as tf
from absl import logging

_waiting = {}  # graph -> functions to call before it runs for the first time
_putting_back = contextlib.ExitStack()


@contextlib.contextmanager
def reaching_graphs(reach):
    """Calls a function once in each graph that is the default one meanwhile.

    Args:
        reach: function of an `ExitStack`, called with the graph as the default one; what it
            adds to the stack is undone in the end.
    """
    make, enter, reached = tf.Graph.__init__, tf.Graph.as_default, set()
    with contextlib.ExitStack() as undo:

        def reach_once(graph):
            if graph not in reached and not graph.building_function:
                reached.add(graph)
                with enter(graph):
                    reach(undo)

        def make_and_reach(graph, *args, **kwargs):
            make(graph, *args, **kwargs)
            if type(graph) is tf.Graph:  # the body of a function is of another class, and not done
                reach_once(graph)

        def enter_and_reach(graph):
            reach_once(graph)
            return enter(graph)

        reach_once(tf.get_default_graph())
        _replace(undo, tf.Graph, "__init__", make_and_reach)
        _replace(undo, tf.Graph, "as_default", enter_and_reach)
        yield


def before_first_run(graph, function):
    """Calls a function of no arguments before a graph runs for the first time, or is finalized.

    Returns:
        Function of no arguments: the other is not called any more.
    """
    if not _waiting:
        for session in (tf.Session, tf.InteractiveSession):
            _replace(_putting_back, session, "run", _telling(session.run, lambda its: its.graph))
        _replace(_putting_back, tf.Graph, "finalize", _telling(tf.Graph.finalize, lambda its: its))
    _waiting.setdefault(graph, []).append(function)

    def forget():
        left = [other for other in _waiting.pop(graph, ()) if other is not function]
        if left:
            _waiting[graph] = left
        elif not _waiting:
            _putting_back.close()

    return forget


def warn_unless_used(thing, warning):
    """Logs a warning when a thing goes that was not used, or the default graph runs before.

    Returns:
        Function of no arguments: it is used now.
    """

    def say():
        forget()
        logging.warning(warning)

    unused = weakref.finalize(thing, say)  # when it is collected, or Python ends; once
    forget = before_first_run(tf.get_default_graph(), unused)

    def used():
        unused.detach()
        forget()

    return used


def before_finalized(graph, function):
    """Calls a function of no arguments, the graph being the default one, before it is finalized."""

    def finalize():
        if not graph.finalized:
            with graph.as_default():
                function()
        type(graph).finalize(graph)

    graph.finalize = finalize


def _telling(method, graph_of):
    def telling(self, *args, **kwargs):
        for function in _waiting.pop(graph_of(self), ()):
            function()
        if not _waiting:
            _putting_back.close()
        return method(self, *args, **kwargs)

    return telling


def _replace(undo, owner, name, function):
    own = owner.__dict__.get(name)
    setattr(owner, name, function)
    if own is None:
        undo.callback(delattr, owner, name)
    else:
        undo.callback(setattr, owner, name, own)
