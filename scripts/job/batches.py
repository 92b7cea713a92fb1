"""Which examples are seen at which step: it depends on the seed and the step alone."""

import math

import numpy as np
import tensorflow.compat.v1 as tf

from job import data as job_data
from job.config import ALL
from job.normalizers import Normalizers

_MOST_REPLAYED = 8  # times as many as a batch has examples


class Arrays:
    """Batches of examples that are in memory, fed into placeholders.

    Beside the columns, a model is given `example_weight`, [batch]: with `replay`, by how much more
    an example counts than it would in a mean over the batch, so that those replayed stand for all;
    and `normalizers`, see there.

    Args:
      config: a `Config`.
      columns: dict of a column's name to its vocabulary, or None for numbers.
      learned: the examples that are learned, all of them in every epoch.
      replayed: those of which some are chosen anew each epoch, `config.replay` per learned one.
      normalizers: a `Normalizers`.
    """

    def __init__(self, config, columns, learned, replayed, normalizers=None):
        self._config, self._learned, self._replayed = config, learned, replayed
        self._normalizers = normalizers or Normalizers()
        num_learned, num_old = job_data.size(learned), job_data.size(replayed)
        self._num_replayed = num_old
        if config.replay != ALL:
            self._num_replayed = int(math.ceil(min((config.replay or 0) * num_learned, num_old)))
        self._size = num_learned + self._num_replayed
        # Old examples come on top of a batch, since they cost less: as many steps as without them.
        self.per_epoch = max(
            -(-num_learned // config.batch_size),
            -(-self._num_replayed // (config.batch_size * _MOST_REPLAYED)),
        )
        with tf.name_scope("features"):  # so that no variable has its name changed
            self._columns = {
                name: tf.placeholder(tf.int32 if columns[name] else tf.float32, [None], name)
                for name in learned
            }
            ones = tf.ones(tf.shape(next(iter(self._columns.values()))))
            self._weight = tf.placeholder_with_default(ones, [None], "example_weight")
        self.features = dict(
            self._columns, example_weight=self._weight, normalizers=self._normalizers
        )
        self._weights = self._weights_of(num_learned, num_old)
        self._epoch, self._shuffled, self._session = None, [], None

    def _weights_of(self, num_learned, num_old):
        """The weights of the learned and of the replayed examples; None if all are 1."""
        weight = self._config.replay_weight
        if weight is None and self._num_replayed:
            weight = num_old / float(self._num_replayed)
        if not self._num_replayed or weight == 1:
            return None
        mean = (num_learned + weight * self._num_replayed) / self._size
        return 1 / mean, weight / mean

    def check(self):
        """Raises a `ValueError` if the model, which is built now, takes no notice of weights."""
        if self._weights and not self._weight.consumers():
            raise ValueError(
                f"--model={self._config.model} has no use for features['example_weight'], by which "
                f"the {self._num_replayed} replayed examples count for all old ones; multiply each "
                "example's loss by it, or give --replay_weight=1."
            )

    @property
    def feeds(self):
        """What `feed` feeds, once the model is built."""
        weight = [self._weight] if self._weights else []
        return [*self._columns.values(), *weight, *self._normalizers.feeds]

    def open(self, session):
        """Called with each new session before `feed`."""
        self._session = session
        self._normalizers.open(session, self._columns)

    def feed(self, number):
        """What is fed to see a batch; they are numbered through all epochs."""
        epoch, place = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._shuffled = epoch, self._of_epoch(epoch)
        return [column[place :: self.per_epoch] for column in self._shuffled]

    def _of_epoch(self, epoch):
        random = np.random.RandomState([self._config.seed, epoch])
        examples = self._learned
        if self._num_replayed:
            chosen = random.permutation(job_data.size(self._replayed))[: self._num_replayed]
            examples = job_data.joined([examples, job_data.take(self._replayed, chosen)])
        # Both kinds, each in a random order, are dealt out to the batches.
        order = random.permutation(job_data.size(self._learned))
        order = np.concatenate([order, np.arange(len(order), self._size)])
        self._normalizers.fill(self._session, self._columns, examples)
        columns = [*examples.values(), *self._weights_in_order(), *self._normalizers.of(examples)]
        return [values[order] for values in columns]

    def _weights_in_order(self):
        if not self._weights:
            return []
        numbers = self._size - self._num_replayed, self._num_replayed
        return [np.repeat(np.float32(self._weights), numbers)]

    def once(self, session, examples):
        """Yields what is fed to see some examples once, in order."""
        del session
        for start in range(0, job_data.size(examples), self._config.batch_size):
            stop = start + self._config.batch_size
            yield [examples[name][start:stop] for name in self._columns]


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
        self.features = dict(both.get_next())
        for feature in filter(tf.is_tensor, list(self.features.values())):
            self.features.setdefault("example_weight", tf.ones(tf.shape(feature)[:1]))
        self.features.setdefault("normalizers", Normalizers())
        self.feeds = [handle]
        self.splits = [split for split in self._splits if split != "train"]

    def check(self):
        """As of `Arrays`; nothing is replayed."""

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
