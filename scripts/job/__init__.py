"""A training job: the loop, its data and its directory; of the model it knows nothing."""
