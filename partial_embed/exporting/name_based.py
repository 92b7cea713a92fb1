"""Tensors as a plain checkpoint by name, which `tf.train.Saver` and growing read.

The way back from object-based checkpoints and Keras files, and from the V1 format to V2.
"""

from partial_embed.exporting.format import Format
from partial_embed.exporting.table import reading
from partial_embed.files.tensors import write_part


def write(tables, stage, options):
    """Writes a part of a checkpoint for each tensor; see `Format`."""
    del options
    for table in tables:
        with reading([table]):
            write_part(stage.part(), [(table.name, "", table.tensor)])


CHECKPOINT = Format(
    write, "checkpoint", None, most_tables=None, is_two_dimensional=False, holds_keys=True
)
