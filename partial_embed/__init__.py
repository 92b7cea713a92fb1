"""Let a trained embedding table gain rows, and train only those."""

from partial_embed.exporting.export import export
from partial_embed.growing import growing
from partial_embed.meta_graph import GrownGraph, grow_meta_graph
from partial_embed.saving.merge import merge_checkpoint
from partial_embed.saving.saver import Saver
from partial_embed.table import row_init
from partial_embed.table.embedding import PartialEmbedding
from partial_embed.table.get_embedding import get_embedding
from partial_embed.table.initializers import xavier_initializer
from partial_embed.table.lookup_cond import lookup_cond
from partial_embed.table.vocabulary import Vocabulary, align_vocabularies
from partial_embed.training.audit import Audit, Finding, VariableReport, audit
from partial_embed.training.frozen_rows import FrozenRows, FrozenRowsHook, record_frozen_rows
from partial_embed.training.minimize import minimize

__all__ = [
    "Audit",
    "Finding",
    "FrozenRows",
    "FrozenRowsHook",
    "GrownGraph",
    "PartialEmbedding",
    "Saver",
    "VariableReport",
    "Vocabulary",
    "audit",
    "align_vocabularies",
    "export",
    "get_embedding",
    "grow_meta_graph",
    "growing",
    "lookup_cond",
    "merge_checkpoint",
    "minimize",
    "record_frozen_rows",
    "row_init",
    "xavier_initializer",
]
__version__ = "0.1.0"
