"""Let a trained embedding table gain rows, and train only those."""

from partial_embed import row_init
from partial_embed.audit import Audit, Finding, VariableReport, audit
from partial_embed.embedding import PartialEmbedding
from partial_embed.frozen_rows import FrozenRows, record_frozen_rows
from partial_embed.get_embedding import get_embedding
from partial_embed.growing import growing
from partial_embed.hooks import FrozenRowsHook
from partial_embed.initializers import xavier_initializer
from partial_embed.lookup_cond import lookup_cond
from partial_embed.merge import merge_checkpoint
from partial_embed.meta_graph import GrownGraph, grow_meta_graph
from partial_embed.minimize import minimize
from partial_embed.saver import Saver
from partial_embed.vocabulary import Vocabulary, align_vocabularies

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
