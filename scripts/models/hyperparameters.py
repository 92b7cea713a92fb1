"""The flags of the models here."""

from absl import flags

flags.DEFINE_integer(
    "dimension", 128, "Dimensions of a row; complex numbers for complex.", lower_bound=1
)
flags.DEFINE_float(
    "dropout", 0.0, "Of the knowledge graphs: part of every query that is dropped, at random."
)
flags.DEFINE_float("n3", 0.0, "Of complex and distmult: weight of the N3 penalty.", lower_bound=0)
flags.DEFINE_integer(
    "negatives",
    0,
    "Of the knowledge graphs: entities drawn each step as the wrong answers to all its questions; "
    "0: all entities are, which costs the whole table a step.",
    lower_bound=0,
)
flags.DEFINE_float(
    "l2",
    0.02,
    "Of matrix_factorization: weight of the squared norms of a rating's rows.",
    lower_bound=0,
)
flags.DEFINE_float("mean", 3.5, "Of matrix_factorization: where the mean of all ratings starts.")
flags.register_validator(
    "dropout", lambda rate: 0 <= rate < 1, "must be at least 0, which drops nothing, and below 1."
)
