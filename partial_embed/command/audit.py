"""Say of a .meta file and a checkpoint which tables can grow, and what does not fit.

For a model of which only the files are left. Whether a table can grow is tried, in a graph that
is thrown away. With --loss, the answer is that of pe.audit: what each variable will get from that
loss once the tables have grown, and what could move old rows.

  partial-embed audit run/model.ckpt-50.meta run/model.ckpt-50
  partial-embed audit run/model.ckpt-50.meta run/ --rows embedding=110 --loss loss

The exit status is 1 if there is something to look into.
"""

from partial_embed.command.growth_arguments import pairs, whole_number


def add_arguments(parser):
    parser.add_argument("meta", help="path of the .meta file")
    parser.add_argument("checkpoint", help="prefix, directory or `checkpoint` file")
    parser.add_argument(
        "--rows",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a table, and its new number of rows",
    )
    parser.add_argument("--loss", help="name of the loss in the graph")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments):
    """Prints what there is to say; returns the exit status."""
    import json

    from partial_embed.meta_graph_audit import audit_meta_graph

    rows = {name: whole_number(name, text) for name, text in pairs(arguments.rows)}
    found = audit_meta_graph(arguments.meta, arguments.checkpoint, rows, arguments.loss)
    if arguments.json:
        content = {key: [its._asdict() for its in part] for key, part in found._asdict().items()}
        print(json.dumps(content))
    else:
        print(found if arguments.loss else found.text("The files fit each other."))
    return 1 if found.findings else 0
