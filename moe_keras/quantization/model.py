"""`quantize`: experts and all other layers of a model, each in its own bits."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import keras

from moe_keras.checks import check_sizes
from moe_keras.experts.expert_list import ExpertList
from moe_keras.experts.feed_forward import FeedForwardExperts
from moe_keras.experts.gated import GatedFeedForwardExperts
from moe_keras.experts.shared_expert import SharedExpert
from moe_keras.experts.stacked import StackedExperts
from moe_keras.gating.router import Router
from moe_keras.monitoring.layers import observed_layers
from moe_keras.packed.layer import FewBits
from moe_keras.packed.rounding import WeightQuantization
from moe_keras.quantization.calibration import runner, watched_rows
from moe_keras.quantization.experts import rounded_for

_GRAPHS = ("train_function", "test_function", "predict_function")


def quantize(
    model: keras.Layer,
    experts: WeightQuantization | str | None = "int8",
    others: WeightQuantization | str | None = None,
    calibration: Iterable | Callable | None = None,
    keep: Iterable[str] = (),
    max_rows: int = 4096,
) -> keras.Layer:
    """Keep the weights of a model in few bits.

    Experts bear fewer bits than other layers, and are most of a model: give
    each their own. Routers stay as they are, and so does whatever has no
    matrix, such as a norm.

    With `calibration` the kernels of experts are rounded by GPTQ
    (arXiv:2210.17323), for the tokens that are routed to each expert; about
    1,000 for each are needed, and an expert without tokens is rounded to the
    nearest numbers. Layer after layer is calibrated, each with those before
    it rounded already, so the model is called once for each of its MoE layers.

    Args:
        model: Built Keras layer or model; it is changed in place.
        experts: `WeightQuantization`, "int8" or "int4", see
            `StackedExperts.quantize`; None leaves experts as they are.
        others: "int8" or "int4", the mode of `keras.Model.quantize` for all
            other layers; a `WeightQuantization` for layers of this package
            alone; None leaves them as they are.
        calibration: Iterable of inputs of the model, or a function without
            arguments that calls it, outside of a graph.
        keep: Regular expressions, found in the paths of layers that are to
            stay as they are.
        max_rows: int. The most calibration tokens of an expert.

    Returns:
        `model` itself.

    Raises:
        ValueError: Before anything is changed: if a layer with matrices cannot
            be reached and is not in `keep`; if experts are split over devices,
            have low-rank pairs or few bits already, or weights that are not
            finite. Also if `calibration` does not call a layer.

    Example:

    >>> from moe_keras import SparseMoE
    >>> layer = SparseMoE(num_experts=4, k=2, hidden_dim=8)
    >>> layer.build((None, 16))
    >>> quantize(layer, WeightQuantization(3, group_size=32)) is layer
    True
    >>> layer.experts.quantization.bits
    3
    """
    way = WeightQuantization.of(experts)
    check_sizes(max_rows=max_rows)
    stacks, lists, rest = _parts(model, list(keep))
    if way is not None:
        for stack in stacks:
            stack.check_can_be_packed()
            if calibration is not None:
                _check_can_be_calibrated(stack)
        _check_lists(lists, experts)
    if others is not None:
        check_mode(others)
        check_reached(rest, others)
        for layer in rest:
            if isinstance(layer, FewBits):
                layer.check_can_be_packed()
    if way is not None and calibration is not None:
        _calibrate(model, stacks, way, runner(model, calibration), max_rows)
    elif way is not None:
        for stack in stacks:
            stack.set_kernels(way)
    if way is not None:
        for layer in lists:
            layer.quantize(experts)
    if others is not None:
        quantize_others(rest, others)
    forget_graphs(model)
    return model


def forget_graphs(model):
    """Drop what a model keeps of graphs with the weights of before."""
    for layer in model._flatten_layers():
        for name in _GRAPHS:
            if getattr(layer, name, None) is not None:
                setattr(layer, name, None)


def _parts(model, keep):
    """Stacks of experts, layers within lists of experts, and other layers."""
    if not isinstance(model, keras.layers.Layer) or not model.built:
        raise ValueError(
            "`model` must be a Keras layer or model that is built: call it "
            f"once. Received: {model!r}"
        )
    layers = [
        layer
        for layer in model._flatten_layers()
        if not any(re.search(pattern, path_of(layer)) for pattern in keep)
    ]
    in_lists = {
        id(inner)
        for layer in layers
        if isinstance(layer, ExpertList)
        for inner in layer._flatten_layers()
    }
    stacks = [x for x in layers if isinstance(x, StackedExperts)]
    lists = [x for x in layers if id(x) in in_lists and has_matrices(x)]
    rest = [
        layer
        for layer in layers
        if id(layer) not in in_lists
        and has_matrices(layer)
        and not isinstance(layer, StackedExperts | Router | SharedExpert)
    ]
    return stacks, lists, rest


def has_matrices(layer):
    """Whether a layer has matrices of its own, not those of layers within."""
    return any(len(weight.shape) >= 2 for weight in layer._trainable_variables)


def can_quantize(layer, mode="int8"):
    """Whether a mode of `keras.Model.quantize`, or `FewBits`, reaches it."""
    if isinstance(layer, FewBits):
        return True
    is_leaf = len(list(layer._flatten_layers())) == 1
    has_method = type(layer).quantize is not keras.Layer.quantize
    return isinstance(mode, str) and is_leaf and has_method


def quantize_others(layers, mode):
    """Quantize layers without experts, which `check_reached` has checked."""
    for layer in layers:
        if isinstance(layer, FewBits):
            layer.set_kernels(WeightQuantization.of(mode))
        else:
            layer.quantize(mode)


def path_of(layer):
    """The path of a layer in its model, or its name."""
    return getattr(layer, "path", None) or layer.name


def check_mode(others):
    """Raise a ValueError unless it is a mode for layers without experts."""
    is_own = isinstance(others, WeightQuantization)
    if not is_own and others not in ("int8", "int4"):
        raise ValueError(
            "`others` must be 'int8' or 'int4', a `WeightQuantization`, or "
            "None to leave other layers as they are. "
            f"Received: others={others!r}"
        )


def check_reached(layers, mode):
    """Raise a ValueError that names the layers which a mode cannot reach."""
    missed = [layer for layer in layers if not can_quantize(layer, mode)]
    if missed:
        listed = "; ".join(
            f"{path_of(layer)} ({type(layer).__name__})" for layer in missed
        )
        raise ValueError(
            f"`others={mode!r}` cannot reach all layers with matrices. Name "
            "those in `keep` that are to stay as they are. Not reached: "
            f"{listed}"
        )


def _check_can_be_calibrated(stack):
    if not isinstance(stack, FeedForwardExperts | GatedFeedForwardExperts):
        raise ValueError(
            "`calibration` is for `FeedForwardExperts` and "
            "`GatedFeedForwardExperts`. Leave it out: others are rounded to "
            f"the nearest numbers. Received: {path_of(stack)} "
            f"({type(stack).__name__})"
        )


def _check_lists(layers, experts: Any):
    if layers and not isinstance(experts, str):
        raise ValueError(
            "Experts that are Keras layers know 'int8' and 'int4' alone, those "
            "of `keras.Model.quantize`. Received: "
            f"experts={experts}, for {path_of(layers[0])}"
        )
    missed = [layer for layer in layers if not can_quantize(layer)]
    if missed:
        raise ValueError(
            "Experts that are Keras layers must know how to be quantized. "
            f"Received: {path_of(missed[0])} ({type(missed[0]).__name__})"
        )


def _calibrate(model, stacks, way, run, max_rows):
    left = {id(stack): stack for stack in stacks}
    for layer in observed_layers(model):
        parts = [layer.experts, layer.shared_expert]
        parts = [part for part in parts if id(part) in left]
        if not parts:
            continue
        with watched_rows(layer, max_rows) as rows:
            run()
        if not rows.called:
            raise ValueError(
                f"`calibration` has not called the layer {path_of(layer)}. Let "
                "it call the model with inputs that reach all its layers."
            )
        for part in parts:
            inputs = rows.experts
            if part is layer.shared_expert:
                inputs = part.num_experts * [rows.tokens]
            part.set_kernels(way, rounded_for(part, inputs, way))
            del left[id(part)]
    for stack in left.values():  # experts outside of a `SparseMoE`
        stack.set_kernels(way)
