"""The MoE layers of a model, however nested, and their names in it."""

import collections
import itertools

import keras


def routing_layers(model: keras.Layer) -> list[keras.Layer]:
    """All layers of a model that report routing.

    Args:
        model: Any Keras layer or model.

    Returns:
        List of the layers with a method `routing_statistics`, in order.

    Raises:
        ValueError: If `model` is no Keras layer.

    Example:

    >>> import moe_keras
    >>> moe = moe_keras.SparseMoE(4, k=2, hidden_dim=8, name="moe")
    >>> model = keras.Sequential([keras.Sequential([moe])])
    >>> [layer.name for layer in routing_layers(model)]
    ['moe']
    """
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(
            f"`model` must be a Keras layer or model. Received: model={model!r}"
        )
    found, seen, ahead = [], set(), [model]
    while ahead:
        layer = ahead.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if hasattr(layer, "routing_statistics"):
            found.append(layer)
        ahead += reversed(layer._layers)
    return found


def observed_layers(model):
    """Return the `routing_layers` that have `observers`."""
    return [x for x in routing_layers(model) if hasattr(x, "observers")]


def by_name(layers):
    """Layers by name; by their path in the model where names are not unique.

    Where paths are not unique either, the later ones are numbered.

    Args:
        layers: Iterable of Keras layers.

    Returns:
        dict.

    Example:

    >>> layers = [keras.layers.Dense(1, name=name) for name in "aba"]
    >>> list(by_name(layers))
    ['a', 'b', 'a_2']
    """
    layers, named = list(layers), {}
    counts = collections.Counter(layer.name for layer in layers)
    for layer in layers:
        is_unique = counts[layer.name] == 1
        name = layer.name if is_unique else layer.path or layer.name
        names = itertools.chain(
            [name], (f"{name}_{i}" for i in itertools.count(2))
        )
        named[next(name for name in names if name not in named)] = layer
    return named
