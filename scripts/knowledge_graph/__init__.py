"""Knowledge-graph models as users of `partial_embed`: an example of a training job, not part of the library."""
