"""`enable_lora`: low-rank pairs for keras-hub's experts.

keras-hub's own `enable_lora` gives pairs to the queries and values of the
attention, and reaches no experts. Here each expert of a bank gets a pair for
each of its kernels (arXiv:2106.09685). A bank saves kernels and pairs added up,
as Keras' Dense does, so that files and presets are those of any such model.
"""

import functools

import keras
import keras_hub

from moe_keras.experts.low_rank import LowRankPairs
from moe_keras.hub.low_rank_weight import LowRankWeight
from moe_keras.hub.sparsify import find_blocks, forget_graphs_of, sparsify
from moe_keras.packed.weight import PackedWeight
from moe_keras.quantization.model import path_of


def enable_lora(
    model: keras.Layer,
    rank: int,
    lora_alpha: float | None = None,
    attention: bool = True,
) -> keras.Layer:
    """Freeze a keras-hub model and train low-rank pairs, its experts' too.

    `W + (lora_alpha / rank) A B` takes the place of each kernel W of each
    expert, with `A (E, D, rank)` and `B (E, rank, H)`; B begins with zeros,
    so that outputs stay as they are. Everything else of a backbone is frozen,
    routers and the biases of experts included, but for what keras-hub's own
    `enable_lora` trains. Compile the model anew.

    The model is made sparse if it is not (see `sparsify`); `densify` asks for
    `merge_lora` before. `.keras` files, presets and `.weights.h5` files hold
    kernels and pairs added up, and are loaded as those of any other model.
    What loads weights into a model with pairs sets its B to zeros.

    Args:
        model: Built task, backbone or layer of keras-hub with experts.
        rank: int. Of each pair. With k of E experts for a token, a rank of
            `r k / E` trains about as many weights for each as r in a dense
            layer.
        lora_alpha: float. `lora_alpha / rank` multiplies the product of an
            expert's pair; None for `rank`.
        attention: bool. Whether backbones' own `enable_lora(rank)` is called
            as well, which gives pairs to queries and values. Where it has
            been called before, with targets of your own, its pairs stay as
            they are. (Call it before: it freezes the experts' pairs.)

    Returns:
        `model` itself.

    Raises:
        RuntimeError, ValueError: As `sparsify`.
        ValueError: If `rank` is not an int from 1 on, or `lora_alpha` not
            above 0; if experts have few bits, or pairs already.

    Example:

    >>> backbone = keras_hub.models.MixtralBackbone(
    ...     vocabulary_size=10, num_layers=1, num_query_heads=2, hidden_dim=8,
    ...     intermediate_dim=4, num_key_value_heads=1, num_experts=4, top_k=2)
    >>> model = enable_lora(backbone, rank=2)
    >>> names = {weight.name for weight in model.trainable_weights}
    >>> "expert_feedforward_output_dense_lora_b" in names
    True
    """
    blocks = find_blocks(model)
    for family, layer, _ in blocks:
        _check_can_have_pairs(family, layer)
    pairs = LowRankPairs(rank, lora_alpha)
    if not all("call" in vars(block) for _, _, block in blocks):
        sparsify(model)
    _freeze(model, rank if attention else None)
    for family, layer, _ in blocks:
        _add_pairs(family.bank(layer), family.kernels, pairs)
    forget_graphs_of(model)
    return model


def merge_lora(model: keras.Layer) -> keras.Layer:
    """Add the pairs of `enable_lora` to the kernels of the experts.

    Outputs stay what they are, and the kernels stay frozen like the rest of
    the model: `model.trainable = True` trains all. Pairs of the attention are
    keras-hub's, which adds them up when it saves. Compile the model anew.

    Args:
        model: What was given to `enable_lora`.

    Returns:
        `model` itself.

    Raises:
        ValueError: If its experts have no pairs.

    Example:

    >>> backbone = keras_hub.models.MixtralBackbone(
    ...     vocabulary_size=10, num_layers=1, num_query_heads=2, hidden_dim=8,
    ...     intermediate_dim=4, num_key_value_heads=1, num_experts=4, top_k=2)
    >>> merge_lora(enable_lora(backbone, rank=2)) is backbone
    True
    """
    banks = [
        (family.bank(layer), family) for family, layer, _ in find_blocks(model)
    ]
    for bank, family in banks:
        if not _pairs_of(bank, family.kernels):
            raise ValueError(
                f"The experts of {path_of(bank)} have no low-rank pairs to "
                "merge: `enable_lora(model, rank)` makes them."
            )
    for bank, family in banks:
        _merge(bank, family.kernels)
    forget_graphs_of(model)
    return model


def _check_can_have_pairs(family, layer):
    bank = family.bank(layer)
    for name in family.kernels:
        weight = getattr(bank, name)
        if isinstance(weight, PackedWeight):
            raise ValueError(
                f"The kernels of {path_of(bank)} have few bits "
                f"({weight.quantization}), beside which low-rank pairs are not "
                "supported: call `enable_lora` on the model of before."
            )
        if isinstance(weight, LowRankWeight):
            raise ValueError(
                f"The experts of {path_of(bank)} have low-rank pairs already, "
                "call `merge_lora(model)` before."
            )


def _freeze(model, rank_of_attention):
    """Freeze backbones, or a layer, but for the pairs that keras-hub makes."""
    kind = keras_hub.models.Backbone
    layers = model._flatten_layers()
    backbones = [layer for layer in layers if isinstance(layer, kind)]
    for each in backbones or [model]:
        if any(
            getattr(x, "lora_enabled", False) for x in each._flatten_layers()
        ):
            continue  # it has been called, and has frozen the rest
        if each in backbones and rank_of_attention is not None:
            each.enable_lora(rank_of_attention)
            continue
        for weight in each.weights:
            weight.trainable = False


def _add_pairs(bank, names, pairs):
    bank.trainable = True
    for weight in bank.weights:
        weight.trainable = False
    bank._tracker.unlock()
    for name in names:
        setattr(bank, name, LowRankWeight(bank, getattr(bank, name), pairs))
    bank._tracker.lock()
    bank.save_own_variables = functools.partial(_save, bank, names)
    bank.load_own_variables = functools.partial(_load, bank, names)


def _merge(bank, names):
    del bank.save_own_variables, bank.load_own_variables
    for name, weight in _pairs_of(bank, names).items():
        weight.kernel.assign(weight.numpy())
        for variable in (weight.a, weight.b):
            bank._untrack_variable(variable)
        setattr(bank, name, weight.kernel)


def _pairs_of(bank, names):
    weights = {name: getattr(bank, name) for name in names}
    return {n: w for n, w in weights.items() if isinstance(w, LowRankWeight)}


def _weights_in_files(bank, names):
    """All weights in the order of files, kernels with their pairs as one."""
    with_pairs = _pairs_of(bank, names).values()
    by_kernel = {id(weight.kernel): weight for weight in with_pairs}
    pairs = {id(x) for weight in with_pairs for x in (weight.a, weight.b)}
    return [
        by_kernel.get(id(weight), weight)
        for weight in bank.weights
        if id(weight) not in pairs
    ]


def _save(bank, names, store):
    for number, weight in enumerate(_weights_in_files(bank, names)):
        store[str(number)] = keras.ops.convert_to_numpy(weight)


def _load(bank, names, store):
    weights = _weights_in_files(bank, names)
    if len(store.keys()) != len(weights):
        raise ValueError(
            f"{path_of(bank)} has {len(weights)} weights in a file. Received: "
            f"{len(store.keys())}"
        )
    for number, weight in enumerate(weights):
        weight.assign(store[str(number)])
