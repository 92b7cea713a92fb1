"""Names as TensorFlow calls them: `layers.Dense` of a script is `tf.keras.layers.Dense`."""

import ast

from partial_embed.migration.syntax import text

# What stands for the public package; the first that fits is taken.
_PREFIXES = (
    ("tensorflow._api.v2.compat.v1", "tf"),
    ("tensorflow.compat.v1", "tf"),
    ("tensorflow.python.keras", "tf.keras"),
    ("tensorflow.compat", "tf.compat"),
    ("tensorflow", "tf"),
    ("tf_keras", "keras"),
)
_COMPAT = ("tensorflow._api.v2.compat.v1", "tensorflow.compat.v1")


class Names:
    """The names that a script imports, and those it gives to what it imported.

    Args:
        tree: `ast.Module`.
    """

    def __init__(self, tree):
        self.imports = []  # (line, local name, full name)
        self._full = {}
        nodes = list(ast.walk(tree))
        if any(_takes_all(node) for node in nodes):
            self._full["tf"] = "tensorflow"  # which a star has brought, as it does in such scripts
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    # `import a.b` binds a, `import a.b as c` binds c to a.b.
                    local = alias.asname or alias.name.split(".")[0]
                    self._bind(node, local, alias.name if alias.asname else local, alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    self._bind(node, alias.asname or alias.name, full, full)
        named = set()
        for node in nodes:  # layers = tf.contrib.layers; tf = tf.compat.v1
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                full = self.full(node.value)
                name = text(node.targets[0])
                is_name = isinstance(node.targets[0], (ast.Name, ast.Attribute))
                if is_name and full and full.startswith("tensorflow") and name not in named:
                    self._full[name] = full
                    named.add(name)  # the first one, of `if old: f = tf.a` and `else: f = tf.b`

    def _bind(self, node, local, full, imported):
        self.imports.append((node.lineno, local, imported))
        # Of `try: import tensorflow.compat.v1 as tf` and what `except` imports, the first.
        if not self._full.get(local, "").startswith(_COMPAT):
            self._full[local] = full

    def full(self, node):
        """Returns the full name of an expression, `tensorflow.nn.relu`; None if it has none."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            known = self._full.get(text(node))
            if known is not None:
                return known
        if isinstance(node, ast.Attribute):
            base = self.full(node.value)
            return None if base is None else f"{base}.{node.attr}"
        return None

    def of(self, node):
        """Returns the public name of an expression, `tf.nn.relu`; "" if it has none.

        `tf` stands for the package and for its compat.v1 alike, see `is_compat`.
        """
        return public(self.full(node) or "")

    def is_compat(self, node):
        """Returns whether an expression is said by way of `compat.v1`."""
        return (self.full(node) or "").startswith(_COMPAT)


def _takes_all(node):
    return isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)


def public(full):
    """Returns the public name of a full one."""
    for prefix, short in _PREFIXES:
        if full == prefix or full.startswith(prefix + "."):
            return short + full[len(prefix) :]
    return full


def is_keras(name, *ends):
    """Returns whether a public name is Keras's own, and ends with one of `ends`."""
    return name.startswith(("keras.", "tf.keras.")) and name.rsplit(".", 1)[-1] in ends
