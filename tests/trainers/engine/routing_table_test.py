"""Figures of the routing: plain floats that JSON can hold."""

import keras
import numpy as np
import pytest

from moe_keras import SparseMoE
from trainers.engine.routing_table import (
    FIGURES,
    reset_routing,
    routing_figures,
)


def test_routing_figures_are_plain_floats():
    # All 6 tokens to the same 2 of 3 experts: loads 6, 6, 0, mean 4.
    layer = SparseMoE(3, k=2, hidden_dim=5, name="moe")
    model = keras.Sequential([layer])
    model(np.ones((6, 4), "float32"))
    figures = routing_figures(model)["moe"]
    assert set(figures) == set(FIGURES)
    assert all(type(figure) is float for figure in figures.values())
    assert figures["max_over_mean_load"] == pytest.approx(6 / 4)
    assert figures["idle_share"] == pytest.approx(1 / 3)
    assert figures["mean_k"] == 2.0


def test_counting_starts_anew():
    model = keras.Sequential([SparseMoE(3, k=2, hidden_dim=5, name="moe")])
    model(np.ones((6, 4), "float32"))
    reset_routing(model)
    assert model.layers[0].routing_statistics().tokens == 0.0
