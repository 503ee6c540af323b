"""One expert of two layers, whose weights are a slice of those of all experts.

B: rows    D: depth    H: hidden size    E: experts
"""

import tensorflow as tf

from moe_keras.bias import bias_gradient
from moe_keras.xla import is_compiled_by_xla


def weight_of(expert, weights):
    """One expert's slice of a stacked weight.

    XLA tries to find the place of a slice while it compiles, and dies of some
    that it cannot find; a gather it leaves alone. Elsewhere the slice is the
    weight itself, where a gather would copy it.

    Args:
        expert: Scalar int32 tensor.
        weights: Tensor `(E, ...)`.

    Returns:
        Tensor `(...)`.

    Example:

    >>> weight_of(1, tf.constant([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
    [3.0, 4.0]
    """
    if is_compiled_by_xla():
        return tf.gather(weights, expert)
    return weights[expert]


class Inside:
    """What an expert computes, forward and backward, of rows of its own.

    Make it by `Inside.of`. Its methods take the flat list of weights which
    that returns.

    Example:

    >>> kernels = [tf.ones((1, 2, 3)), tf.ones((1, 3, 4))]
    >>> inside, weights = Inside.of(kernels, activation=None)
    >>> inside.widths(weights)
    (3, 4)
    """

    def __init__(self, num_kernels_in, activation):
        self.num_kernels_in = num_kernels_in
        self.activation = activation

    @classmethod
    def of(cls, weights, activation):
        """Make it of weights as `feed_forward_segments` takes them.

        Args:
            weights: List of `kernel_in`, or a tuple of several, `kernel_out`
                and perhaps their biases.
            activation: `Activation`.

        Returns:
            An `Inside`, and the weights as a flat list.
        """
        kernels_in, *others = weights
        if not isinstance(kernels_in, tuple | list):
            kernels_in = (kernels_in,)
        return cls(len(kernels_in), activation), [*kernels_in, *others]

    def widths(self, weights):
        """The width of the layer before its activation, and of the outputs."""
        kernels_in, kernel_out, *_ = self.parts(weights)
        width = sum(kernel.shape[-1] for kernel in kernels_in)
        return width, kernel_out.shape[-1]

    def parts(self, weights):
        """Splits the weights: kernels in, kernel out, bias in, bias out."""
        kernels_in = weights[: self.num_kernels_in]
        kernel_out, *biases = weights[self.num_kernels_in :]
        return kernels_in, kernel_out, *(biases or (None, None))

    def hidden(self, inputs_BD, expert, weights):
        """The hidden layer before its activation."""
        kernels_in, _, bias_in, _ = self.parts(weights)
        products = [
            tf.matmul(inputs_BD, weight_of(expert, kernel))
            for kernel in kernels_in
        ]
        return _add(_side_by_side(products), bias_in, expert)

    def outputs(self, hidden_BH, expert, weights):
        _, kernel_out, _, bias_out = self.parts(weights)
        product_BD = tf.matmul(hidden_BH, weight_of(expert, kernel_out))
        return _add(product_BD, bias_out, expert)

    def gradients(self, inputs_BD, replayed, d_outputs_BD, expert, weights):
        """The gradients of the inputs and of the expert's own weights.

        `replayed` is what `Activation.replay` gives.
        """
        kernels_in, kernel_out, *biases = self.parts(weights)
        hidden_BH, back = replayed
        d_hidden_BH = back(
            tf.matmul(
                d_outputs_BD, weight_of(expert, kernel_out), transpose_b=True
            )
        )
        d_products = [d_hidden_BH]
        if len(kernels_in) > 1:
            widths = [kernel.shape[-1] for kernel in kernels_in]
            d_products = tf.split(d_hidden_BH, widths, axis=-1)
        d_inputs_BD = tf.add_n(
            [
                tf.matmul(
                    d_product, weight_of(expert, kernel), transpose_b=True
                )
                for d_product, kernel in zip(
                    d_products, kernels_in, strict=True
                )
            ]
        )
        d_weights = [
            tf.matmul(inputs_BD, d_product, transpose_a=True)
            for d_product in d_products
        ]
        d_weights.append(tf.matmul(hidden_BH, d_outputs_BD, transpose_a=True))
        d_weights += [
            bias_gradient(d_rows, bias.dtype)
            for d_rows, bias in zip(
                (d_hidden_BH, d_outputs_BD), biases, strict=True
            )
            if bias is not None
        ]
        return d_inputs_BD, d_weights


def _add(rows, bias, expert):
    if bias is None:
        return rows
    # TensorFlow fuses this operation with the product and the activation.
    return tf.nn.bias_add(rows, tf.cast(weight_of(expert, bias), rows.dtype))


def _side_by_side(products):
    return products[0] if len(products) == 1 else tf.concat(products, axis=-1)
