"""The loop of a run: stretches of bare steps, each of which ends with a step that hooks see."""

import time

import tensorflow.compat.v1 as tf

_SECONDS_OF_A_STRETCH = 1.0


class Loop:
    """Takes a monitored session through the steps of a run.

    A monitored session costs a fraction of a millisecond a step, which is as much as a small step
    itself. So the steps of a stretch are taken by a callable of the plain session, and only the
    last one runs with the hooks: at the end of an epoch, after a second, and when asked to stop.

    Args:
      graph: a `Graph`.
      batches: `Arrays` or a `Pipeline`.
      position: the hook `Position`.
      should_stop: a function that is called after every step; once it returns something true, the
        run ends after one more.
    """

    def __init__(self, graph, batches, position, should_stop):
        self._graph, self._batches, self._position = graph, batches, position
        self._should_stop = should_stop
        self._session = None

    def run(self, monitored):
        """Takes steps until the end, until somebody asks to stop, or while they are not in vain."""
        position = self._position
        while not (
            monitored.should_stop() or position.at_end or position.stopping or position.in_vain
        ):
            try:
                monitored.run_step_fn(self._stretch)
            except tf.errors.OutOfRangeError:  # the end of a pipeline
                return

    def _stretch(self, step_context):
        position, graph, batches = self._position, self._graph, self._batches
        # Not that of the context, which is the first one still if another took its place.
        session = position.session
        if session is not self._session:
            self._session = session
            batches.open(session)
            self._step = session.make_callable([graph.loss, graph.counted], batches.feeds)
        step, began = self._step, time.time()
        position.begin_stretch()
        position.stopping = bool(self._should_stop())
        ends = position.stopping
        while not ends:
            ends = position.ends_epoch(steps=1) or time.time() - began > _SECONDS_OF_A_STRETCH
            if not ends:
                position.advance(*step(*batches.feed(position.next)))
                position.stopping = bool(self._should_stop())
                # The steps of others may have passed what this one's next would.
                ends = position.stopping or position.ends_epoch() or position.at_end
        position.seconds += time.time() - began
        if position.at_end:
            position.stopping = False  # All is done, and is saved at the end.
        else:
            feeds = dict(zip(batches.feeds, batches.feed(position.next)))
            step_context.run_with_hooks(graph.counted, feeds)
