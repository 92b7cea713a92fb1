"""Samples of products of parameters: the suite runs them, and `make soak` the whole product."""

import itertools


def pairwise(*parameters):
    """Returns tuples of values in which every two values of two parameters meet.

    Args:
        parameters: lists, or for a parameter of pytest anything that has a length and a sequence.
    """
    choices = [range(len(parameter)) for parameter in parameters]
    places = list(itertools.combinations(range(len(parameters)), 2))

    def pairs(case):
        return {(a, case[a], b, case[b]) for a, b in places}

    product = list(itertools.product(*choices))
    missing, found = set().union(*map(pairs, product)), []
    while missing:
        best = max(product, key=lambda case: len(pairs(case) & missing))
        missing -= pairs(best)
        found.append(tuple(its[number] for its, number in zip(parameters, best)))
    return found
