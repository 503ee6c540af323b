"""Gemma 4, the mixture of 26 B parameters.

Its router is a layer beside the experts and stays as it is: it gives the
experts a weight for each token and expert, and k of these are not 0.

N: tokens    D: depth    E: experts    K: experts per token
"""

import tensorflow as tf

from moe_keras.hub.family import (
    Choice,
    ExpertBank,
    Family,
    in_float32,
    is_training,
    read,
    top_k_of_weights,
)


def _call(decoder, experts, x, dispatch_weights):
    layer = decoder.moe_expert_bank
    (scale_E,) = read(layer, "per_expert_scale")
    weights_NE = tf.cast(dispatch_weights, scale_E.dtype)
    expert_NK = top_k_of_weights(weights_NE, decoder.num_experts_per_token)[0]
    # Each expert's output is scaled, which is to scale its weight.
    gate_NK = tf.gather(weights_NE * scale_E, expert_NK, batch_dims=1)
    choice, training = Choice(expert_NK, gate_NK), is_training(layer)
    return experts(x, choice, _bank(layer), experts.padding(), training)


def _bank(layer):
    kernel_gate, kernel_linear, kernel_out = read(
        layer, "gate_proj", "up_proj", "down_proj"
    )

    def join(hidden):
        gate, linear = tf.split(hidden, 2, axis=-1)
        return in_float32(_tanh_gelu, gate) * linear

    return ExpertBank((kernel_gate, kernel_linear), kernel_out, join)


def _tanh_gelu(hidden):
    return tf.nn.gelu(hidden, approximate=True)


GEMMA4 = Family(
    name="Gemma 4",
    layer=(
        "keras_hub.src.models.gemma4.gemma4_decoder_block"
        ".Gemma4TextDecoderBlock"
    ),
    call=_call,
    bank=lambda decoder: decoder.moe_expert_bank,
    kernels=("gate_proj", "up_proj", "down_proj"),
    routers=lambda decoder: (decoder.moe_router,),
    replaces=lambda decoder: getattr(decoder, "moe_expert_bank", None),
)
