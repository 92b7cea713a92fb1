"""Ids that a script gives out by frequency, in order of appearance, or in the order of a set."""

import ast

from partial_embed.migration.findings import TRAP
from partial_embed.migration.syntax import argument, index_of, literal, text
from partial_embed.migration.values import Parameter

HEADING = "Ids that were renumbered"
_REMEDY = "more data gives old keys other ids: `vocabularies=` with the keys of then and now."
_LIBRARY = {
    "sklearn.preprocessing.LabelEncoder": "numbers keys in their own order",
    "sklearn.feature_extraction.text.CountVectorizer": "numbers words in their own order",
    "pandas.factorize": "numbers keys as they appear",
    "pandas.Categorical": "numbers keys in their own order",
    "tf.contrib.learn.preprocessing.VocabularyProcessor": "numbers words as they appear",
}


def findings(script):
    """Yields where ids are given out, and what by."""
    for call, name in script.calls:
        if name in _LIBRARY:
            yield script.finding(call, TRAP, f"{_LIBRARY[name]}: {_REMEDY}", HEADING)
        elif name == "pandas.Series" and _numbers_uniques(script, call):
            yield script.finding(call, TRAP, f"ids as keys appear: {_REMEDY}", HEADING)
        elif name.startswith(("keras.", "tf.keras.")) and name.endswith(".text.Tokenizer"):
            yield script.finding(call, TRAP, f"numbers words by frequency: {_REMEDY}", HEADING)
        elif (
            name == "numpy.unique"
            and literal(argument(call, None, "return_inverse") or call) is True
        ):
            yield script.finding(call, TRAP, f"numbers keys in their own order: {_REMEDY}", HEADING)
    for call in script.methods("most_common"):
        if not _is_shown(script, call):
            yield script.finding(call, TRAP, f"ids by frequency: {_REMEDY}", HEADING)
    for node in script.nodes:
        if isinstance(node, ast.Attribute) and text(node).endswith(".cat.codes"):
            yield script.finding(node, TRAP, f"numbers keys in their own order: {_REMEDY}", HEADING)
        if isinstance(node, ast.Assign):
            yield from _as_they_appear(script, node)
        if isinstance(node, ast.Call) and _numbers(node):
            yield from _in_order(script, node)
        elif isinstance(node, ast.Call) and _by_default(script, node):
            yield script.finding(node, TRAP, f"ids as keys appear: {_REMEDY}", HEADING)


def _numbers_uniques(script, call):
    """`pd.Series(data=np.arange(n), index=column.unique())`."""
    data, index = argument(call, 0, "data"), argument(call, 1, "index")
    if not isinstance(data, ast.Call) or text(data.func) not in _RANGES or index is None:
        return False
    return _order_of(script, index) is not None


def _is_shown(script, call):
    """Returns whether it is printed, or one entry is taken of it."""
    parent = script.values.parent_of.get(call)
    if isinstance(parent, ast.Subscript):
        return not isinstance(index_of(parent), ast.Slice)
    return any(
        text(its.func) in ("print", "logging.info", "tf.logging.info")
        for its in script.values.within(call, ast.Call)
    )


def _as_they_appear(script, node):
    """`vocab[word] = len(vocab)`, and `ids[word] = n` of words that are not in it yet."""
    target = node.targets[0]
    if not isinstance(target, ast.Subscript) or isinstance(index_of(target), ast.Slice):
        return
    dictionary = text(target.value)
    by_length = _is_length(_without_offset(node.value), dictionary)
    is_name = isinstance(node.value, (ast.Name, ast.Attribute))
    by_number = is_name and _counts(script, node) and _asks(script, node)
    if by_length or by_number:
        yield script.finding(node, TRAP, f"ids as keys appear: {_REMEDY}", HEADING, _seen(node))


def _without_offset(number):
    """`n` of `n + 1`."""
    return number.left if isinstance(number, ast.BinOp) else number


def _is_length(node, dictionary):
    lengths = (f"len({dictionary})", f"len({dictionary}.keys())")
    return isinstance(node, ast.Call) and text(node) in lengths


def _by_default(script, call):
    """`vocab.setdefault(word, len(vocab))`, `ids = defaultdict(lambda: len(ids))`."""
    if isinstance(call.func, ast.Attribute) and call.func.attr == "setdefault":
        number = argument(call, 1)
        return number is not None and _is_length(number, text(call.func.value))
    first = argument(call, 0)
    if text(call.func).split(".")[-1] != "defaultdict" or not isinstance(first, ast.Lambda):
        return False
    statement = script.values.statement_of.get(call)
    targets = getattr(statement, "targets", ())
    return any(_is_length(first.body, text(target)) for target in targets)


def _seen(node):
    return f"{text(node.targets[0])} = {text(node.value)}"


def _counts(script, node):
    """Returns whether the number is counted on in the same function: `n += 1`, `n = n + 1`."""
    around = script.values.function_of[node]
    values = script.values.expressions(node.value)
    names = {text(its) for its in values if isinstance(its, (ast.Name, ast.Attribute))}
    return any(
        _adds_to(its) in names and script.values.function_of[its] is around for its in script.nodes
    )


def _adds_to(node):
    """Returns what a statement adds to, as written; None if it does not add."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        return text(node.target)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
        target = text(node.targets[0])
        if isinstance(node.value.op, ast.Add) and text(node.value.left) == target:
            return target
    return None


def _asks(script, node):
    """Returns whether an `if` of the same function asks whether the key is there, or in a set."""
    target, around = node.targets[0], script.values.function_of[node]
    wanted, key = text(target.value), text(index_of(target))
    for its in script.nodes:
        if not isinstance(its, ast.If) or script.values.function_of[its] is not around:
            continue
        for test in ast.walk(its.test):
            if isinstance(test, ast.Compare) and isinstance(test.ops[0], (ast.In, ast.NotIn)):
                asked = test.comparators[0]
                keys = isinstance(asked, ast.Call) and text(asked.func) == wanted + ".keys"
                if keys or text(asked) == wanted or text(test.left) == key:
                    return True
    return False


def _numbers(call):
    """Returns whether a call gives numbers to entries: enumerate, or zip with a range."""
    if text(call.func) == "enumerate":
        return bool(call.args)
    ranges = [its for its in call.args if isinstance(its, ast.Call) and text(its.func) in _RANGES]
    return text(call.func) in ("zip", "izip") and len(call.args) == 2 and bool(ranges)


_RANGES = ("range", "xrange", "count", "itertools.count", "np.arange")


def _in_order(script, call):
    """Entries of a set, or sorted ones, whose numbers become values of a dict."""
    if not _becomes_dict(script, call):
        return
    for its in call.args:
        order = _sorted_in_place(script, its) or _order_of(script, its)
        if order:
            seen = text(script.values.parent_of.get(call, call))
            seen = text(call) if seen == "..." else seen
            yield script.finding(call, TRAP, f"ids {order}: {_REMEDY}", HEADING, seen)
            return


def _sorted_in_place(script, node):
    """Returns the order of what the same function sorts, `words.sort()`; else None."""
    around = script.values.function_of[node]
    for call in script.methods("sort"):
        if text(call.func.value) == text(node) and script.values.function_of[call] is around:
            return _ORDERS["sorted"] if argument(call, None, "key") is None else "by count"
    return None


def _becomes_dict(script, call):
    """`dict(zip(words, range(n)))`, `{w: i for i, w in enumerate(words)}`, or `ids[w] = i`."""
    for parent in script.values.within(call, ast.Call, ast.DictComp, ast.For, ast.GeneratorExp):
        if isinstance(parent, ast.Call):
            if text(parent.func) == "dict":
                return True
            continue
        if isinstance(parent, ast.DictComp):
            return True
        if isinstance(parent, ast.For) and call in ast.walk(parent.iter):
            first = parent.target.elts[0] if isinstance(parent.target, ast.Tuple) else None
            return first is not None and any(
                isinstance(its, ast.Assign)
                and _is_entry(its.targets[0])
                and text(_without_offset(its.value)) == text(first)
                for its in ast.walk(parent)
            )
    return False


def _is_entry(target):
    """`ids[w]`, and `vocab[w].index`."""
    target = target.value if isinstance(target, ast.Attribute) else target
    return isinstance(target, ast.Subscript)


def _order_of(script, node, depth=4):
    """Returns the first order of what an expression may stand for; else None."""
    values = script.values.expressions(node)
    orders = (_order(script, its, depth) for its in values if not isinstance(its, Parameter))
    return next(filter(None, orders), None)


def _order(script, node, depth=4):
    """Returns the order of an expression's entries, if more data may change it; else None."""
    if isinstance(node, (ast.Set, ast.SetComp)):
        return "in the order of a set"
    source = _source(node)
    if not depth or (source is None and not isinstance(node, ast.Call)):
        return None
    if source is not None:
        return _order_of(script, source, depth - 1)
    called = "unique" if text(node.func).endswith(".unique") else text(node.func)
    if script.names.of(node.func) in _ORDERS:
        called = script.names.of(node.func)
    if called == "sorted" and argument(node, None, "key") is not None:
        return "by count"
    if called in _ORDERS:
        return _ORDERS[called]
    order = None
    for function in script.values.functions.get(called, ()):
        for its in ast.walk(function):
            if isinstance(its, ast.Return):
                order = order or _order(script, its.value, depth - 1)
    return order


def _source(node):
    """Returns what an expression has its entries from, in their order; None if there is none."""
    if isinstance(node, ast.ListComp):  # [words[i] for i in np.argsort(counts)]
        return node.generators[0].iter
    if isinstance(node, ast.Subscript) and isinstance(index_of(node), ast.Slice):
        return node.value
    passes_on = isinstance(node, ast.Call) and text(node.func) in _PASS_ON and node.args
    first = node.args[0] if passes_on else None
    return first.value if isinstance(first, ast.Starred) else first


_PASS_ON = ("list", "tuple", "np.array", "zip")
_ORDERS = {
    "set": "in the order of a set",
    "sorted": "in the keys' own order",
    "numpy.unique": "in the keys' own order",
    "numpy.argsort": "by count",
    "unique": "as keys appear",
}
