"""Layers that run all experts at once, and the products behind them."""

from moe_keras.experts.expert_list import ExpertList
from moe_keras.experts.feed_forward import FeedForwardExperts
from moe_keras.experts.gated import GatedFeedForwardExperts
from moe_keras.experts.glu import ClampedGLU
from moe_keras.experts.packed import ExpertQuantization
from moe_keras.experts.stacked import StackedExperts

__all__ = [
    "ClampedGLU",
    "ExpertList",
    "ExpertQuantization",
    "FeedForwardExperts",
    "GatedFeedForwardExperts",
    "StackedExperts",
]
