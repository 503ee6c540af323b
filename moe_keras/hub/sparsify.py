"""`sparsify`: keras-hub's mixtures of experts compute the chosen experts only.

Their blocks compute all experts for all tokens and multiply most of it by 0.
A block is given another `call`, an attribute of its own, over its own
variables. No layer, weight, name or config changes, so files, presets,
`enable_lora`, `quantize` and `generate` are what they were.
"""

import functools

import keras

from moe_keras.hub.experts import ENGINES, ChosenExperts
from moe_keras.hub.gemma4 import GEMMA4
from moe_keras.hub.gpt_oss import GPT_OSS
from moe_keras.hub.low_rank_weight import LowRankWeight
from moe_keras.hub.mixtral import MIXTRAL
from moe_keras.hub.padding import keep_padding, leave_out_padding
from moe_keras.hub.qwen import QWEN3_5_MOE, QWEN3_MOE, QWEN_MOE
from moe_keras.hub.versions import check_versions
from moe_keras.packed.weight import PackedWeight

FAMILIES = (MIXTRAL, QWEN_MOE, QWEN3_MOE, QWEN3_5_MOE, GPT_OSS, GEMMA4)

# What a model keeps of its graphs, which hold the `call` of before.
_GRAPHS = (
    "train_function",
    "test_function",
    "predict_function",
    "generate_function",
    # Gemma 4: with an assistant.
    "_cached_spec_sampler",
    "_cached_spec_generate_fn",
)


def sparsify(
    model: keras.Layer, engine: str = "auto", skip_padding: bool = False
) -> keras.Layer:
    """Lets the blocks of a keras-hub model compute only the chosen experts.

    Outputs, losses and gradients stay what they were, up to rounding. A model
    that is loaded, cloned or restored is dense again: call `sparsify` once
    more. A `tf.function` of your own that was traced before keeps computing
    all experts.

    `generate` leaves the padding of the prompt out of the experts, which
    changes no token of the answer.

    Args:
        model: A built task, backbone or layer of keras-hub, of the families
            Mixtral, Qwen1.5-MoE, Qwen3-MoE, Qwen3.5-MoE, GPT-OSS or Gemma 4.
            Of a task sparsify the task, not its backbone: graphs that it
            keeps are dropped.
        engine: How experts with many tokens are run. "segments" loops over
            the experts in use and wastes nothing, but XLA cannot compile it:
            Keras then turns `jit_compile` off. "blocks" has static shapes,
            which XLA compiles. "auto" takes blocks in a graph that XLA
            compiles, and segments elsewhere.
        skip_padding: bool. Also leave out the tokens under a padding mask in
            `fit`, `evaluate`, `predict` and `call`: no expert computes them
            and the balancing loss does not count them, as was meant. Outputs
            at padding differ then from keras-hub's, and so does that loss in
            Qwen1.5-MoE and Qwen3-MoE, which count padding.

    Returns:
        `model` itself.

    Raises:
        RuntimeError: With another backend than TensorFlow, or a version of
            keras-hub that is not known.
        ValueError: If `engine` is no such name; if the model has no block of
            these families, has one that is not built, or one of a class that
            is derived from theirs.

    Example:

    >>> import keras_hub
    >>> backbone = keras_hub.models.MixtralBackbone(
    ...     vocabulary_size=10, num_layers=2, num_query_heads=2, hidden_dim=8,
    ...     intermediate_dim=4, num_key_value_heads=1, num_experts=4, top_k=2)
    >>> sparsify(backbone) is backbone
    True
    """
    check_versions()
    if engine not in ENGINES:
        raise ValueError(
            f"`engine` must be one of {', '.join(ENGINES)}. Received: "
            f"engine={engine!r}"
        )
    found = find_blocks(model)
    for _, _, block in found:
        if not block.built:
            raise ValueError(
                "`model` must be built before it is made sparse: call it "
                f"once. Received: {model!r}, whose {block.name!r} is not built"
            )
    experts = ChosenExperts(engine, skip_padding)
    for family, layer, block in found:
        block.call = functools.partial(family.call, layer, experts)
        block.supports_jit = engine != "segments"
    for each in _models_of(model):
        if hasattr(each, "_build_cache"):
            leave_out_padding(each)
        _forget_graphs(each)
    return model


def densify(model: keras.Layer) -> keras.Layer:
    """Takes `sparsify` back: keras-hub's own blocks again.

    Args:
        model: What was given to `sparsify`. One that is not sparse stays as
            it is.

    Returns:
        `model` itself.

    Raises:
        ValueError: If the model has no block of the known families, or its
            experts are quantized or have low-rank pairs.

    Example:

    >>> import keras_hub
    >>> backbone = keras_hub.models.MixtralBackbone(
    ...     vocabulary_size=10, num_layers=2, num_query_heads=2, hidden_dim=8,
    ...     intermediate_dim=4, num_key_value_heads=1, num_experts=4, top_k=2)
    >>> densify(sparsify(backbone)) is backbone
    True
    """
    blocks = find_blocks(model)
    for family, layer, _ in blocks:
        _check_kernels_are_keras_hubs(family.bank(layer), family.kernels)
    for _, _, block in blocks:
        if "call" in vars(block):
            del block.call
            block.supports_jit = True
    for each in _models_of(model):
        keep_padding(each)
        _forget_graphs(each)
    return model


def _check_kernels_are_keras_hubs(bank, names):
    kernels = [getattr(bank, name) for name in names]
    if any(isinstance(kernel, PackedWeight) for kernel in kernels):
        raise ValueError(
            f"The kernels of {bank.name} have few bits, and keras-hub "
            "cannot compute with them: a quantized model stays sparse."
        )
    if any(isinstance(kernel, LowRankWeight) for kernel in kernels):
        raise ValueError(
            f"The kernels of {bank.name} have low-rank pairs, and keras-hub "
            "would compute without them: call `merge_lora(model)` before."
        )


def find_blocks(model):
    """Find the blocks of a model.

    Args:
        model: Task, backbone or layer of keras-hub.

    Returns:
        List of triples: the family, the layer that it describes, and the layer
        to be given a `call`.

    Raises:
        ValueError: As `sparsify`.
    """
    found = []
    for layer in _layers_of(model):
        for family in FAMILIES:
            if family.is_base_of(layer):
                block = family.replaces(layer)
                if block is None:
                    continue
                if not family.describes(layer):
                    raise ValueError(
                        "`model` must have the blocks of keras-hub: one of a "
                        "class derived from them may compute something else. "
                        f"Received: {type(layer)} named {layer.name!r}"
                    )
                found.append((family, layer, block))
    if not found:
        names = ", ".join(family.name for family in FAMILIES)
        raise ValueError(
            f"`model` must have mixtures of experts of keras-hub ({names}). "
            f"Received: {model!r}, which has none, or is not built"
        )
    return found


def forget_graphs_of(model):
    """Drop the graphs of a model and of the models within."""
    for each in _models_of(model):
        _forget_graphs(each)


def _layers_of(model):
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(
            "`model` must be a task, a backbone or a layer of keras-hub. "
            f"Received: {model!r}"
        )
    return list(model._flatten_layers())


def _models_of(model):
    layers = _layers_of(model)
    return [layer for layer in layers if isinstance(layer, keras.Model)]


def _forget_graphs(model):
    for name in _GRAPHS:
        if getattr(model, name, None) is not None:
            setattr(model, name, None)
    if model._jit_compile:
        # Anew: Keras turns it off where a layer cannot be compiled. It would
        # take no notice of the value that is there.
        model._jit_compile = None
        model.jit_compile = True
