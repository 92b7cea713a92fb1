"""Knowledge-graph models: an example of a training job that uses partial_embed."""
