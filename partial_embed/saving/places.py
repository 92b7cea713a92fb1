"""Where what is frozen stands in checkpoints, as a session has it."""

import weakref
from collections import namedtuple

import tensorflow.compat.v1 as tf

from partial_embed.files.locate import exists

# By session, {name: place} of what any Saver restored there since growing loaded it.
_RESTORED = weakref.WeakKeyDictionary()


class Place(namedtuple("Place", ["checkpoint", "name", "owner"])):
    """Where a variable stands that is frozen whole.

    Attributes:
        checkpoint: `Checkpoint`.
        name: its name there.
        owner: the name by which its slots are named there; a base knows one name for both.
    """


class Places:
    """Where the tables and the frozen variables of a Saver stand.

    Each has an origin, what its values were loaded from, which is a session's whichever Saver
    restored it; and perhaps a newer checkpoint, which this Saver wrote, and which has the slots
    of all rows as well.

    Args:
        loaded: dict of name in the graph to what growing loaded it from: the source of a table
            or a `Place`. It lacks what came from no checkpoint.
    """

    def __init__(self, loaded):
        self._graph = tf.get_default_graph()
        self._loaded = loaded
        # By session, {name: (the newest, the origin it was saved with)}.
        self._saved = weakref.WeakKeyDictionary()

    def origin(self, session, name):
        """Returns what the values were loaded from, None if from no checkpoint."""
        return _RESTORED.get(session, {}).get(name, self._loaded.get(name))

    def newest(self, session, name):
        """Returns the newest that has the values, None without any."""
        origin = self.origin(session, name)
        place, of = self._saved.get(session, {}).get(name, (None, None))
        return place if place and of is origin else origin

    def standing(self, session, name, what):
        """Returns the newest that is there as it was opened, None without any.

        Raises:
            ValueError: if none is there any more; names it, and `what` is lost with it.
        """
        places = self.newest(session, name), self.origin(session, name)
        for place in places:
            if place and exists(place.checkpoint.prefix) and place.checkpoint.is_unchanged():
                return place
        if places[0] is None:
            return None
        raise ValueError(
            f"{places[0].checkpoint.prefix} is gone, or another was put in its place, and with it "
            f"the optimizer slots of {what}. Put it back, or save with delta=True, which does not "
            "need it."
        )

    def note_restored(self, session, places):
        """Notes what values were restored from, for all Savers; takes {name: place}."""
        _RESTORED[session] = {**_RESTORED.get(session, {}), **places}

    def note_saved(self, session, places):
        """Notes what was saved whole, {name: place}; where it replaced the origin it is that."""
        origins = {name: self.origin(session, name) for name in places}
        replaced = {
            name: place
            for name, place in places.items()
            if origins[name] and origins[name].checkpoint.prefix == place.checkpoint.prefix
        }
        if replaced:
            self.note_restored(session, replaced)
        self._saved[session] = {
            name: (place, self.origin(session, name)) for name, place in places.items()
        }

    def forget_saved(self, session):
        """Forgets what this Saver saved; returns whether there was anything."""
        return bool(self._saved.pop(session, None))

    def prefixes(self):
        """Returns the prefixes of all that values were loaded from, in whatever session."""
        here = [its for session, its in _RESTORED.items() if session.graph is self._graph]
        places = [place for its in [self._loaded, *here] for place in its.values()]
        return {place.checkpoint.prefix for place in places}
