"""What TensorBoard's projector is told: the tables, whose their rows are, and which are new."""

import os

from job import data as job_data


def write(directory, tables, data):
    """Writes `projector_config.pbtxt`, and for each vocabulary a table of its keys.

    Args:
      directory: of the run; its checkpoint holds the tables.
      tables: dict of a table's name to its vocabulary.
      data: a `Data`.
    """
    for name in sorted(set(tables.values())):
        old = data.num_old[name]
        lines = [
            f"{key}\t{'old' if row < old else 'new'}" for row, key in enumerate(_keys(data, name))
        ]
        job_data.write_lines(os.path.join(directory, name + ".tsv"), ["key\trow", *lines])
    lines = [
        f'embeddings {{ tensor_name: "{table}" metadata_path: "{name}.tsv" }}'
        for table, name in sorted(tables.items())
    ]
    job_data.write_lines(os.path.join(directory, "projector_config.pbtxt"), lines)


def _keys(data, name):
    return (key.replace("\t", " ") for key in data.vocabularies[name])
