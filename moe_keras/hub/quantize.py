"""`quantize`: keras-hub's experts in few bits, their routers left alone.

Keras' own `quantize` reaches no experts of keras-hub and rounds the routers.
Here the kernels of a block's experts give way to packed ones, which the sparse
`call` of the block unpacks, one expert at a time.

N: tokens    E: experts
"""

import functools
import re
from collections.abc import Callable, Iterable

import keras
import numpy as np

from moe_keras.checks import check_sizes
from moe_keras.dispatch import dispatch, plan_dispatch
from moe_keras.hub.experts import ChosenExperts
from moe_keras.hub.few_bits import replace_kernels, tell_policies
from moe_keras.hub.low_rank_weight import LowRankWeight
from moe_keras.hub.sparsify import find_blocks, forget_graphs_of, sparsify
from moe_keras.packed.rounding import WeightQuantization, values_of_codes
from moe_keras.packed.weight import PackedWeight
from moe_keras.quantization.calibration import RoutedRows, runner
from moe_keras.quantization.gptq import gptq_kernel
from moe_keras.quantization.model import (
    check_mode,
    check_reached,
    has_matrices,
    path_of,
    quantize_others,
)


def quantize(
    model: keras.Layer,
    experts: WeightQuantization | str | None = "int8",
    others: str | None = None,
    calibration: Iterable | Callable | None = None,
    keep: Iterable[str] = (),
    max_rows: int = 4096,
) -> keras.Layer:
    """Keep the weights of a keras-hub model in few bits.

    The model is made sparse if it is not (see `sparsify`), and stays so:
    `densify` has no kernels to go back to. Routers and gates of shared experts
    stay as they are.

    `.keras` files and presets are saved as ever, and loaded by
    `load_quantized`. `save_weights` and `load_weights` work between models
    that are quantized alike.

    Args:
        model, experts, others, calibration, keep, max_rows: As for
            `moe_keras.quantization.quantize`. A calibration must call the
            model outside of a graph, so `generate` does not do; the engine
            of a sparse model is "auto" afterwards.

    Returns:
        `model` itself.

    Raises:
        RuntimeError, ValueError: As `sparsify`; and as
            `moe_keras.quantization.quantize`.

    Example:

    >>> import keras_hub
    >>> backbone = keras_hub.models.MixtralBackbone(
    ...     vocabulary_size=10, num_layers=2, num_query_heads=2, hidden_dim=8,
    ...     intermediate_dim=4, num_key_value_heads=1, num_experts=4, top_k=2)
    >>> quantize(backbone, "int4", others="int8") is backbone
    True
    """
    way = WeightQuantization.of(experts)
    check_sizes(max_rows=max_rows)
    blocks = find_blocks(model)
    rest = _others(model, blocks, list(keep))
    if others is not None:
        check_mode(others)
        check_reached(rest, others)
    if way is not None:
        for family, layer, _ in blocks:
            _check_can_be_packed(family, layer)
    if not all("call" in vars(block) for _, _, block in blocks):
        sparsify(model)
    run = None if calibration is None else runner(model, calibration)
    for family, layer, block in blocks if way is not None else ():
        rounded = {}
        if run is not None:
            rounded = _calibrated(family, layer, block, way, run, max_rows)
        _pack(family, layer, way, rounded)
    if others is not None:
        quantize_others(rest, others)
    if way is not None:
        tell_policies(model)
    forget_graphs_of(model)
    return model


def _others(model, blocks, keep):
    """Layers with matrices that are neither experts nor routers."""
    left_out = set()
    for family, layer, _ in blocks:
        left_out.add(id(family.bank(layer)))
        for router in family.routers(layer):
            left_out.update(map(id, router._flatten_layers()))
    return [
        layer
        for layer in model._flatten_layers()
        if id(layer) not in left_out
        and has_matrices(layer)
        and not any(re.search(pattern, path_of(layer)) for pattern in keep)
    ]


def _check_can_be_packed(family, layer):
    bank = family.bank(layer)
    for name in family.kernels:
        weight = getattr(bank, name)
        if isinstance(weight, PackedWeight):
            raise ValueError(
                f"The kernels of {path_of(bank)} have few bits already: "
                f"{weight.quantization}."
            )
        if isinstance(weight, LowRankWeight):
            raise ValueError(
                f"The kernels of {path_of(bank)} have low-rank pairs: call "
                "`merge_lora(model)` before they are quantized."
            )
        if not np.isfinite(_array(weight)).all():
            raise ValueError(
                f"{weight.path} has weights that are not finite, and cannot be "
                "quantized."
            )


def _pack(family, layer, way, rounded):
    bank = family.bank(layer)
    for name, old in replace_kernels(bank, family.kernels, way).items():
        if name in rounded:
            getattr(bank, name).assign_rounded(rounded[name])
        else:
            getattr(bank, name).assign(_array(old))


class _RecordingExperts(ChosenExperts):
    """`ChosenExperts` that keeps the rows of each expert, and the bank."""

    def __init__(self, num_experts, max_rows):
        super().__init__()
        self.rows = RoutedRows(num_experts, max_rows)
        self.bank = None

    def __call__(self, tokens, choice, bank, padding=None, training=False):
        self.rows.check_is_eager("a block of keras-hub")
        mask = None if padding is None else np.ravel(padding)
        plan = plan_dispatch(choice.expert, bank.num_experts, mask)
        self.rows.add(dispatch(tokens, plan).numpy(), plan.counts.numpy())
        self.bank = bank
        return super().__call__(tokens, choice, bank, padding, training)


def _calibrated(family, layer, block, way, run, max_rows):
    """The kernels of a block's experts by GPTQ, by their names."""
    names = family.kernels
    num_experts = getattr(family.bank(layer), names[-1]).shape[0]
    recording = _RecordingExperts(num_experts, max_rows)
    call = block.call
    block.call = functools.partial(family.call, layer, recording)
    try:
        run()
    finally:
        block.call = call
    if recording.bank is None:
        raise ValueError(
            f"`calibration` has not called the block {path_of(block)}. Let it "
            "call the model with inputs that reach all its layers."
        )
    return _round_bank(names, recording.bank, recording.rows.experts, way)


def _round_bank(names, bank, inputs, way):
    kernels_in = [_array(kernel) for kernel in bank.kernels_in]
    kernel_out = _array(bank.kernel_out)
    rounded = {name: [] for name in names}
    for expert, rows in enumerate(inputs):
        into = [gptq_kernel(kernel[expert], rows, way) for kernel in kernels_in]
        products = np.concatenate(
            [rows @ values_of_codes(each, way) for each in into], axis=-1
        )
        if bank.biases:
            products += _array(bank.biases[0])[expert]
        hidden = _array(bank.join(products.astype("float32")))
        out = gptq_kernel(kernel_out[expert], hidden, way)
        for name, each in zip(names, (*into, out), strict=True):
            rounded[name].append(each)
    return rounded


def _array(tensor):
    return keras.ops.convert_to_numpy(tensor).astype("float32")
