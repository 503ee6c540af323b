"""Experts of two layers, rounded by GPTQ one after the other.

E: experts    n: tokens of an expert    D: depth    H: hidden size
"""

import numpy as np
import tensorflow as tf

from moe_keras.packed.rounding import values_of_codes
from moe_keras.quantization.gptq import gptq_kernel


def round_expert(kernel_in, bias_in, join, kernel_out, inputs, quantization):
    """Round both kernels of one expert for its tokens.

    The second is rounded for the hidden layer that the first, rounded, gives.

    Args:
        kernel_in: Array `(D, H)`.
        bias_in: Array `(H,)`, or None.
        join: Function from the products with `kernel_in`, a tensor, to the
            hidden layer `(n, H')`.
        kernel_out: Array `(H', D')`.
        inputs: Array `(n, D)`.
        quantization: `WeightQuantization`.

    Returns:
        Pair of what `round_kernel` returns, for the two kernels.
    """
    into = gptq_kernel(kernel_in, inputs, quantization)
    products = inputs @ values_of_codes(into, quantization)
    if bias_in is not None:
        products = products + bias_in
    hidden = join(tf.constant(products, tf.float32))
    return into, gptq_kernel(kernel_out, np.asarray(hidden), quantization)


def rounded_for(experts, inputs, quantization):
    """Round the kernels of a layer of experts for the tokens of each.

    Args:
        experts: `FeedForwardExperts` or `GatedFeedForwardExperts`, built.
        inputs: List of an array `(n, D)` for each expert.
        quantization: `WeightQuantization`.

    Returns:
        dict for `StackedExperts.set_kernels`.
    """
    kernel_in, kernel_out = (
        experts.expert_weights[name].numpy().astype("float32")
        for name in ("kernel_in", "kernel_out")
    )
    biases = [None] * experts.num_experts
    if experts.use_bias:
        biases = experts.bias_in.numpy()
    pairs = [
        round_expert(*each, quantization=quantization)
        for each in zip(
            kernel_in,
            biases,
            experts.num_experts * [experts.join],
            kernel_out,
            inputs,
            strict=True,
        )
    ]
    into, out = zip(*pairs, strict=True)
    return {"kernel_in": into, "kernel_out": out}
