"""Which examples are seen at which step: it depends on the seed and the step alone."""

import numpy as np
import tensorflow.compat.v1 as tf

from job import data as job_data


class Arrays:
    """Batches of examples that are in memory, fed into placeholders.

    Args:
      config: a `Config`.
      columns: dict of a column's name to its vocabulary, or None for numbers.
      learned: the examples that are learned, all of them in every epoch.
      replayed: those of which some are chosen anew each epoch, `config.replay` per learned one.
    """

    def __init__(self, config, columns, learned, replayed):
        self._config, self._learned, self._replayed = config, learned, replayed
        self._num_replayed = min(
            int(round(config.replay * job_data.size(learned))), job_data.size(replayed)
        )
        self._size = job_data.size(learned) + self._num_replayed
        self.per_epoch = -(-self._size // config.batch_size)
        with tf.name_scope("features"):  # so that no variable has its name changed
            self.features = {
                name: tf.placeholder(tf.int32 if columns[name] else tf.float32, [None], name)
                for name in learned
            }
        self.feeds = list(self.features.values())
        self._epoch, self._shuffled = None, []

    def open(self, session):
        """Called with each new session before `feed`."""

    def feed(self, number):
        """What is fed to see a batch; they are numbered through all epochs."""
        epoch, place = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._shuffled = epoch, self._of_epoch(epoch)
        first = place * self._config.batch_size
        return [column[first : first + self._config.batch_size] for column in self._shuffled]

    def _of_epoch(self, epoch):
        random = np.random.RandomState([self._config.seed, epoch])
        examples = self._learned
        if self._num_replayed:
            chosen = random.permutation(job_data.size(self._replayed))[: self._num_replayed]
            examples = job_data.joined([examples, job_data.take(self._replayed, chosen)])
        order = random.permutation(self._size)
        return [values[order] for values in examples.values()]

    def once(self, session, examples):
        """Yields what is fed to see some examples once, in order."""
        del session
        for start in range(0, job_data.size(examples), self._config.batch_size):
            stop = start + self._config.batch_size
            yield [examples[name][start:stop] for name in self.features]


class Pipeline:
    """Batches from the user's own `tf.data` pipeline.

    Args:
      config: a `Config`.
      data: a `Data` with a pipeline.
    """

    per_epoch = None  # nobody knows before its end

    def __init__(self, config, data):
        self._splits = {}
        for split in job_data.SPLITS:
            dataset = data.pipeline(split, data.vocabularies, data.num_old)
            if dataset is not None and split == "train":
                # The iterator starts after the weights were restored: with what is not done yet.
                done = tf.train.get_or_create_global_step()
                dataset = dataset.repeat(config.epochs).skip(tf.identity(done))
            if dataset is not None:
                iterator = tf.data.make_initializable_iterator(dataset)
                self._splits[split] = iterator, iterator.string_handle()
        if "train" not in self._splits:
            raise ValueError("The pipeline of --data has no train examples: it returned None.")
        train = self._splits["train"][0]
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, train.initializer)
        handle = tf.placeholder(tf.string, [], "features/handle")
        both = tf.data.Iterator.from_string_handle(
            handle, tf.data.get_output_types(train), tf.data.get_output_shapes(train)
        )
        self.features = both.get_next()
        self.feeds = [handle]
        self.splits = [split for split in self._splits if split != "train"]

    def open(self, session):
        """As of `Arrays`."""
        self._handle = session.run(self._splits["train"][1])

    def feed(self, number):
        """As of `Arrays`; the pipeline itself knows what comes next, and ends."""
        del number
        return [self._handle]

    def once(self, session, split):
        """As of `Arrays`, for a split."""
        iterator, handle = self._splits[split]
        session.run(iterator.initializer)
        handle = session.run(handle)
        while True:
            yield [handle]
