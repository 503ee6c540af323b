"""Figures that show how evenly a model used its experts, and their table."""

import math

from moe_keras.monitoring import routing_layers

# Names of `RoutingStatistics` and the heads of their columns.
FIGURES = {
    "cv_importance": "CV(importance)",
    "cv_load": "CV(load)",
    "max_over_mean_load": "max/mean load",
    "idle_share": "idle experts",
    "mean_k": "experts/token",
}


def reset_routing(model):
    """Start counting anew in all MoE layers of a model."""
    for layer in routing_layers(model):
        layer.reset_routing_statistics()


def routing_figures(model):
    """Read what the MoE layers counted since the last reset.

    Args:
        model: Keras model.

    Returns:
        dict by name of layer: dict of floats, by the names of `FIGURES`.
    """
    return {
        layer.name: {
            name: float(getattr(layer.routing_statistics(), name))
            for name in FIGURES
        }
        for layer in routing_layers(model)
    }


def show_routing(routing, log):
    """Write a table, a line for each layer.

    Args:
        routing: dict as of `routing_figures`; figures may be missing.
        log: Function of one line of text.

    Example:

    >>> show_routing({"moe": {"cv_load": 0.25}}, print)
    Experts on the test set:
      layer                     CV(importance)        CV(load)   max/mean load\
    idle experts   experts/token
      moe                                  nan           0.250             nan\
             nan             nan
    """
    log("Experts on the test set:")
    heads = "".join(f"{head:>16}" for head in FIGURES.values())
    log(f"  {'layer':24}{heads}")
    for name, figures in routing.items():
        values = (figures.get(key, math.nan) for key in FIGURES)
        log(f"  {name:24}" + "".join(f"{value:16.3f}" for value in values))
