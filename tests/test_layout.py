"""The house: rooms, imports one way, short files, every private name in one place."""

import ast
import pathlib

import partial_embed as pe

HOUSE = pathlib.Path(pe.__file__).parent
# Each room may import from itself and from those before it.
ROOMS = ["files", "table", "training", "saving", "exporting", "command"]
FILES = sorted(HOUSE.rglob("*.py"))


def imported(path):
    """The modules that a file imports, with the names it takes from them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def test_rooms_import_one_way():
    wrong = []
    for path in FILES:
        parts = path.relative_to(HOUSE).parts
        if len(parts) == 1:
            continue
        allowed = {"_tensorflow", *ROOMS[: ROOMS.index(parts[0]) + 1]}
        for module, names in imported(path):
            if module == "partial_embed":
                wrong.append((str(path), names))
            elif module.startswith("partial_embed.") and module.split(".")[1] not in allowed:
                wrong.append((str(path), module))
    assert wrong == []


def test_files_do_not_import_each_other_in_a_circle():
    name_of = {
        path: ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts) for path in FILES
    }
    names = set(name_of.values())
    imports = {name_of[p]: {m for m, _ in imported(p)} & names for p in FILES}
    while imports:
        free = {name for name, needs in imports.items() if not needs & set(imports)}
        assert free, f"a circle among {sorted(imports)}"
        imports = {name: needs for name, needs in imports.items() if name not in free}


def test_the_files_room_knows_no_tables():
    for path in (HOUSE / "files").glob("*.py"):
        assert "embedding" not in path.read_text(encoding="utf-8").lower(), path


def test_no_file_is_longer_than_350_lines():
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > 350} == {}


def test_what_tensorflow_does_not_publish_is_named_in_one_file():
    for path in FILES:
        modules = [module for module, _ in imported(path)]
        if path.name == "_tensorflow.py":
            continue
        private = [
            m for m in modules if m.startswith("tensorflow.") and m != "tensorflow.compat.v1"
        ]
        assert private == [], path
