"""Sparsely-gated mixture-of-experts layers for Keras (arXiv:1701.06538).

Dimension letters, used as suffixes of local tensor names and in docstrings:

B batch, S source length, T target length, N tokens (batch and time
flattened), D depth, H hidden size of an expert, E experts, K experts per
token, C slots (capacity) of an expert, G groups of experts, V vocabulary,
W beam width, P projection size, A attention size.
"""

import moe_keras.programs  # noqa: F401  first, and without TensorFlow
from moe_keras import gating, losses, monitoring
from moe_keras.balancing import LossWeightSchedule
from moe_keras.experts import FeedForwardExperts, GatedFeedForwardExperts
from moe_keras.gating import *  # noqa: F403  all gates, as it lists them
from moe_keras.optimizers import FactoredAdam
from moe_keras.recurrent.projected_lstm import ProjectedLSTM
from moe_keras.sparse_moe import SparseMoE
from moe_keras.version import __version__

__all__ = [
    *gating.__all__,
    "FactoredAdam",
    "FeedForwardExperts",
    "GatedFeedForwardExperts",
    "LossWeightSchedule",
    "ProjectedLSTM",
    "SparseMoE",
    "__version__",
    "gating",
    "losses",
    "monitoring",
]
