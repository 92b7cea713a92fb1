"""What `grow` and `grow-saved-model` are told alike: what grows, and where new rows start."""

import re


def add_growth_arguments(parser):
    """Adds them to the parser of a subcommand."""
    size = {"action": "append", "default": [], "metavar": "NAME=NUMBER"}
    parser.add_argument("--rows", **size, help="a variable, or pattern, and its rows")
    parser.add_argument("--columns", **size, help="the same for kernels [d, vocabulary]")
    parser.add_argument(
        "--vocabulary",
        nargs=2,
        metavar=("OLD", "NEW"),
        help="files of one key a line: of the base's rows, and of the output's",
    )
    parser.add_argument("--match", default="*", help="the variables of --vocabulary (all)")
    parser.add_argument(
        "--num_oov_buckets",
        type=int,
        default=0,
        help="rows at the end of both for keys in no vocabulary (0)",
    )
    parser.add_argument(
        "--init",
        action="append",
        default=[],
        metavar="START",
        help="where new rows start: normal (like the old ones; default), mean (of the old ones), "
        "zeros, neighbours, or a .npy file; NAME=START for some variables",
    )
    parser.add_argument(
        "--neighbours",
        metavar="FILE",
        help="for --init neighbours, a line for each new key, tabs between: the key, then the old "
        "keys of which its row is the mean",
    )
    parser.add_argument("--skip", action="append", default=[], help="a variable that stays")
    parser.add_argument(
        "--slot",
        action="append",
        default=[],
        metavar="NAME=START",
        help="where an optimizer starts a slot: a number, or rows; for what is not tf.train's",
    )
    parser.add_argument("--allow_nonfinite", action="store_true", help="copy NaN and Inf as well")
    parser.add_argument("--json", action="store_true", help="print what grew as JSON")


def growth_settings(arguments):
    """Returns the arguments of `grow_checkpoint` that were given, a dict."""
    vocabularies = None
    if not arguments.vocabulary and (arguments.match != "*" or arguments.num_oov_buckets):
        raise ValueError("--match and --num_oov_buckets are of a vocabulary: give --vocabulary.")
    if arguments.neighbours and not any(text.endswith("neighbours") for text in arguments.init):
        raise ValueError("--neighbours is for new rows that start there: say --init neighbours.")
    if arguments.vocabulary:
        vocabularies = {arguments.match: (*arguments.vocabulary, arguments.num_oov_buckets)}
    return {
        "rows": {name: whole_number(name, text) for name, text in pairs(arguments.rows)},
        "columns": {name: whole_number(name, text) for name, text in pairs(arguments.columns)},
        "vocabularies": vocabularies,
        "initializers": _initializers(arguments),
        "skip": arguments.skip,
        "slots": {name: _start(text) for name, text in pairs(arguments.slot)},
        "allow_nonfinite": arguments.allow_nonfinite,
    }


def print_growth(growth, output, as_json):
    """Prints what became of each tensor, and where the result is."""
    import json

    if as_json:
        content = {"base": growth.prefix, "output": output, "same": growth.copied}
        print(json.dumps({**content, "grown": growth.described(), "warnings": growth.warnings}))
        return
    print(growth.text())
    print(f"Wrote {output}.")


def pairs(texts):
    """Returns [(name, value), ...] of texts `name=value`."""
    pairs = [text.rpartition("=") for text in texts]
    for (name, _, _), text in zip(pairs, texts):
        if not name:
            raise ValueError(f"{text!r}: expected NAME=VALUE, like embedding=110.")
    names = [name for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)} is named twice. Name it once.")
    return [(name, value) for name, _, value in pairs]


def whole_number(name, text):
    """Returns the number of rows that a person wrote for a variable."""
    if not re.fullmatch("[0-9]+", text):
        raise ValueError(f"{name}={text}: expected a number of rows, like {name}=110.")
    return int(text)


def _start(text):
    try:
        return text if text == "rows" else float(text)
    except ValueError:
        raise ValueError(f"A slot starts at a number, or as the rows; got {text!r}.") from None


def _initializers(arguments):
    found = {}
    for text in arguments.init:
        pattern, _, start = text.rpartition("=")
        if start == "neighbours":
            if not (arguments.neighbours and arguments.vocabulary):
                raise ValueError("--init neighbours needs --vocabulary, and --neighbours FILE.")
            start = _neighbours(arguments.neighbours, arguments.vocabulary)
        found[pattern or "*"] = start
    # The first pattern that matches decides.
    for_all = found.pop("*", "normal")
    return {**found, "*": for_all}


def _neighbours(path, vocabulary):
    """Returns an initializer: means of old rows, from a file that lists them by key."""
    from partial_embed.files.regular import read_file
    from partial_embed.table import row_init
    from partial_embed.table.vocabulary import read_vocabulary

    content = read_file(path)
    if content is None:
        raise ValueError(f"There is no file {path}.")
    old, new = (read_vocabulary(file) for file in vocabulary)
    near = {}
    for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
        key, *keys = line.split("\t")
        if not keys or key in near:
            raise ValueError(f"{path}, line {number}: expected a new key, and old ones after tabs.")
        near[key] = keys
    known = set(old)
    added = [key for key in new if key not in known]
    missing = [key for key in added if key not in near]
    if missing:
        raise ValueError(f"{path} has no line for the new key {missing[0]!r}.")
    return row_init.mean_of_rows([near[key] for key in added])
