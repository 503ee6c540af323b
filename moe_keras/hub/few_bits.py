"""Files and presets of keras-hub models whose experts have few bits.

The config of a backbone of keras-hub has a map of dtype policies. A policy of
its own there says which kernels have few bits, so that a `.keras` file or a
preset knows of them; `load_quantized` packs them by it, after the model is
made and before its weights are read.
"""

import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

import keras
import keras_hub

from moe_keras.hub.sparsify import find_blocks, sparsify
from moe_keras.packed.rounding import WeightQuantization
from moe_keras.packed.weight import PackedWeight
from moe_keras.quantization.keras_model import (
    quantize_layers,
    quantized_layers,
)

_LOADING = contextvars.ContextVar("loading", default=False)


class FewBitsPolicy(keras.DTypePolicy):
    """The dtype policy of a backbone that is loaded with few bits.

    Args:
        source_name: str. Name of the policy of its other weights, such as
            "float32".
        quantization: `WeightQuantization` of the experts' kernels.
        layers: dict, as `quantized_layers` returns it, of the other layers.

    Example:

    >>> policy = FewBitsPolicy("bfloat16", WeightQuantization(4, 128), {})
    >>> policy.compute_dtype, policy.quantization.bits
    ('bfloat16', 4)
    """

    def __init__(self, source_name, quantization, layers):
        super().__init__(source_name)
        self.layers = dict(layers)
        self.quantization = WeightQuantization.of(quantization)


@keras.saving.register_keras_serializable(package="moe_keras")
class FewBitsPolicies(keras.dtype_policies.DTypePolicyMap):
    """The same, of a backbone that has few bits: it is saved as a map.

    keras-hub saves such a map as it is, and would make one of its own else. It
    says of layers by their numbers what maps say by their paths: blocks
    without a name have another path in each model.

    Args:
        source_name, quantization, layers: As of `FewBitsPolicy`.

    Raises:
        ValueError: If it is loaded by something else than `load_quantized`.
    """

    def __init__(self, source_name, quantization, layers):
        super().__init__(source_name)
        self.few_bits = FewBitsPolicy(source_name, quantization, layers)

    def get_config(self):
        return {
            "source_name": self.few_bits.name,
            "quantization": keras.saving.serialize_keras_object(
                self.few_bits.quantization
            ),
            "layers": self.few_bits.layers,
        }

    @classmethod
    def from_config(cls, config):
        if not _LOADING.get():
            raise ValueError(
                "The experts of this model have few bits: load it by "
                "`moe_keras.hub.load_quantized(load, ...)`, where `load` is "
                "the function that you have called, such as "
                "`keras.saving.load_model`."
            )
        # Layers must have a policy that Keras can quantize from.
        return FewBitsPolicy(**config)


def load_quantized(
    load: Callable[..., Any], *args: Any, **kwargs: Any
) -> keras.Layer:
    """Load a keras-hub model that was saved after `quantize`.

    `.keras` files of all models, and presets of tasks: `Backbone.from_preset`
    of keras-hub 0.32 forgets the dtype policies of a preset, and so these. The
    model is made whole, and its experts are packed before the weights are read:
    while it is loaded it takes as much memory as before it was quantized.

    Args:
        load: Function that loads, such as `keras.saving.load_model` or
            `keras_hub.models.CausalLM.from_preset`.
        *args, **kwargs: Its arguments.

    Returns:
        What `load` returns, sparse.

    Raises:
        ValueError: If what is loaded has no mixtures of experts of keras-hub.

    Example:

    >>> import os, tempfile
    >>> from moe_keras.hub import quantize
    >>> backbone = keras_hub.models.MixtralBackbone(
    ...     vocabulary_size=10, num_layers=2, num_query_heads=2, hidden_dim=8,
    ...     intermediate_dim=4, num_key_value_heads=1, num_experts=4, top_k=2)
    >>> path = os.path.join(tempfile.mkdtemp(), "few_bits.keras")
    >>> quantize(backbone, "int4").save(path)
    >>> type(load_quantized(keras.saving.load_model, path)).__name__
    'MixtralBackbone'
    """
    with _packing_before_weights():
        model = load(*args, **kwargs)
    return sparsify(model)


def tell_policies(model):
    """Write into the configs of backbones which layers have few bits.

    Args:
        model: Task, backbone or layer of keras-hub, whose experts have.
    """
    for backbone in model._flatten_layers():
        if isinstance(backbone, keras_hub.models.Backbone):
            backbone.dtype_policy = _policies_of(backbone)


def _policies_of(backbone):
    whole = backbone.dtype_policy
    if isinstance(whole, keras.dtype_policies.DTypePolicyMap):
        whole = whole.default_policy
    family, layer, _ = find_blocks(backbone)[0]  # all blocks are alike
    kernel = getattr(family.bank(layer), family.kernels[0])
    return FewBitsPolicies(
        whole.name, kernel.quantization, quantized_layers(backbone)
    )


@contextlib.contextmanager
def _packing_before_weights():
    """Backbones pack their kernels when they are asked to read weights.

    `keras.saving.custom_object_scope` cannot do it: within another object
    Keras takes registered classes, such as backbones, before those of a scope.
    """
    kind = keras_hub.models.Backbone
    load_own_variables = kind.load_own_variables

    def pack_and_load(backbone, store):
        _pack_by_policy(backbone)
        load_own_variables(backbone, store)

    token = _LOADING.set(True)
    kind.load_own_variables = pack_and_load
    try:
        yield
    finally:
        del kind.load_own_variables  # that of the base class again
        _LOADING.reset(token)


def _pack_by_policy(backbone):
    policy = backbone.dtype_policy
    if not isinstance(policy, FewBitsPolicy):
        return
    for family, layer, _ in find_blocks(backbone):
        bank = family.bank(layer)
        replace_kernels(bank, family.kernels, policy.quantization)
    quantize_layers(backbone, policy.layers)
    backbone.dtype_policy = _policies_of(backbone)


def replace_kernels(bank, names, quantization):
    """Put packed weights, zeros as yet, in the place of kernels.

    Args:
        bank: Layer that holds the kernels.
        names: Names of its attributes.
        quantization: `WeightQuantization`.

    Returns:
        dict of the variables that were there, by name.
    """
    replaced = {}
    bank._tracker.unlock()
    for name in names:
        replaced[name] = old = getattr(bank, name)
        if not isinstance(old, PackedWeight):
            new = PackedWeight(bank, old.name, old.shape, quantization)
            bank._untrack_variable(old)
            setattr(bank, name, new)
    bank._tracker.lock()
    return replaced
