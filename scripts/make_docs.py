"""Writes the pages of docs/ as HTML, and a reference of every public name from its docstring.

  python scripts/make_docs.py [FOLDER]   # build/docs

It needs what `pip install .[docs]` installs; `make docs` does both. It fails unless each public
name is on its page.
"""

import html
import importlib
import inspect
import os
import pathlib
import re
import shutil
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import partial_embed as pe

try:
    import markdown2
    import pdoc
    import pdoc.render
except ImportError:
    sys.exit("The documentation needs pdoc: pip install .[docs]")

HERE = pathlib.Path(__file__).resolve().parent.parent
MODULES = ["partial_embed", "partial_embed.table.row_init"]
# The pages in the order in which they are read; others come after them.
FIRST = ["concepts", "cookbook", "migration", "training", "learning", "scaling", "reliability"]
LAST = ["performance", "design"]
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0; color: #222; }}
nav {{ padding: .6em 2em; background: #f3f3f3; }} nav a {{ margin-right: 1.2em; }}
main {{ max-width: 62em; margin: 0 auto; padding: 1em 2em 4em; }}
a {{ color: #0a58a6; }} img {{ max-width: 100%; }}
pre {{ background: #f7f7f7; padding: .8em; overflow-x: auto; line-height: 1.35; }}
code {{ font-size: .9em; }} pre code {{ font-size: .85em; }}
table {{ border-collapse: collapse; }} td, th {{ border: 1px solid #ddd; padding: .3em .6em; }}
{highlighting}
main.pdoc-code {{ background: none; }}
</style></head><body><nav>{navigation}</nav><main class="pdoc-code">
{content}
</main></body></html>
"""


def write_reference(folder):
    """Writes a page for the package, and one for `row_init`; returns how many names they tell."""
    for name in pe.__all__:  # which are resolved when they are asked for, and pdoc does not ask
        setattr(pe, name, getattr(pe, name))
        if inspect.isclass(getattr(pe, name)):
            gather_methods(getattr(pe, name))
    pdoc.render.configure(
        docformat="google", show_source=False, footer_text=f"partial_embed {pe.__version__}"
    )
    modules = {name: pdoc.doc.Module(importlib.import_module(name)) for name in MODULES}
    for name, module in modules.items():
        path = folder.joinpath(*name.split(".")).with_suffix(".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")
    (folder / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")
    return sum(expect_told(folder, *pair) for pair in modules.items())


def gather_methods(kind):
    """Puts what a class inherits from others of the package into it, of which nobody is told else.

    Methods that only refuse are told of once, fields of a tuple as attributes, and what TensorFlow
    says of an `__init__` that was written anew is not told.
    """
    if "__init__" in vars(kind) and kind.__init__.__doc__ is None:
        kind.__init__.__doc__ = "Its arguments are told above."
    refuse = getattr(kind, "refuse", None)
    for base in kind.__mro__:
        if not re.match(r"partial_embed\.[a-z]", base.__module__):  # and not of _tensorflow.py
            continue
        for name, value in list(vars(base).items()):
            field = name in getattr(kind, "_fields", ())
            if field or (name != "refuse" and value is refuse):
                delattr(base, name)
            elif not name.startswith("_") and inspect.isfunction(value):
                setattr(kind, name, value)


def expect_told(folder, name, module):
    """Raises RuntimeError unless each public name of a module is on its page, and not empty."""
    page = folder.joinpath(*name.split(".")).with_suffix(".html").read_text(encoding="utf-8")
    for public in module.obj.__all__:
        if f"{name}.{public}" == "partial_embed.row_init":  # has a page of its own
            continue
        told = re.search(rf'<section id="{public}">(.*?)</section>', page, re.DOTALL)
        if not told or 'class="docstring"' not in told.group(1):
            raise RuntimeError(f"{name}.{public} is not in the reference.")
    return len(module.obj.__all__)


def write_pages(folder):
    """Writes README as the index, and each page of docs/; returns their names."""
    there = sorted(path.stem for path in (HERE / "docs").glob("*.md"))
    names = [*(name for name in FIRST if name in there)]
    names += [name for name in there if name not in FIRST + LAST]
    names += [name for name in LAST if name in there]
    links = [("index.html", "partial_embed"), *((f"{name}.html", name) for name in names)]
    links.append(("partial_embed.html", "reference"))
    links.append(("partial_embed/table/row_init.html", "row_init"))
    navigation = " ".join(f'<a href="{to}">{text}</a>' for to, text in links)
    highlighting = pathlib.Path(pdoc.render.__file__).parent / "templates/syntax-highlighting.css"
    for name in ["index", *names]:
        source = HERE / ("README.md" if name == "index" else f"docs/{name}.md")
        text = with_links(source.read_text(encoding="utf-8"), names)
        extras = ["fenced-code-blocks", "tables", "header-ids", "cuddled-lists"]
        page = PAGE.format(
            title=html.escape(text.partition("\n")[0].strip("# ")),
            navigation=navigation,
            content=markdown2.markdown(text, extras=extras),
            highlighting=highlighting.read_text(encoding="utf-8"),
        )
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    for picture in (HERE / "docs").glob("*.png"):
        shutil.copy(picture, folder)
    return names


def with_links(text, names):
    """Returns the text of a page whose links lead to pages; of those to other files the text."""

    def link(found):
        label, (path, hash_, place) = found.group(1), found.group(2).partition("#")
        stem, suffix = os.path.splitext(os.path.basename(path))
        if suffix == ".md" and stem in names:
            return f"[{label}]({stem}.html{hash_}{place})"
        if suffix == ".png":
            return f"[{label}]({stem}.png)"
        return found.group(0) if not path or "://" in path else label

    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", link, text)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of pdoc: a name that is not found, a broken docstring
        count = write_reference(folder)
    names = write_pages(folder)
    print(f"{folder}/index.html: {len(names) + 1} pages, and a reference of {count} names")


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
    else:
        main(pathlib.Path(*sys.argv[1:2] or [HERE / "build" / "docs"]))
