"""Layers that run all experts at once, and the products behind them."""

from moe_keras.experts.expert_list import ExpertList
from moe_keras.experts.feed_forward import FeedForwardExperts
from moe_keras.experts.gated import GatedFeedForwardExperts
from moe_keras.experts.glu import ClampedGLU
from moe_keras.experts.stacked import StackedExperts
from moe_keras.packed.rounding import WeightQuantization

__all__ = [
    "ClampedGLU",
    "ExpertList",
    "WeightQuantization",
    "FeedForwardExperts",
    "GatedFeedForwardExperts",
    "StackedExperts",
]
