"""Matrix products of ragged segments of tokens, one set of weights for each.

The rows of all experts lie in one tensor, sorted by expert. A loop over the
experts that have rows takes the slice of each and runs ordinary matrix
products on it: two for feed-forward experts, one for the secondary gates of a
hierarchy, where a group of experts takes the place of an expert. Nothing is
padded, an idle expert costs nothing, and the graph has one size for 8 experts
and for 2,000.

The gradient is written by hand. TensorFlow's gradient of the loop would copy
all weights into lists, slice by slice. Here they are read in place, and each
weight gradient is written once: zeros for idle experts as well, or the slices
of busy experts alone, as an `ExpertSlices`. A gradient by hand can also
recompute the hidden activations (appendix D of arXiv:1701.06538).

S: rows of all experts    B: rows of one    D: depth    H: hidden size
E: experts
"""

import itertools

import tensorflow as tf

from moe_keras.experts.kernels import kernel_of, weight_of
from moe_keras.gradients.bias import bias_gradient
from moe_keras.gradients.custom_gradient import custom_gradient
from moe_keras.gradients.slices import ExpertSlices

# Iterations do not depend on each other, so several run at once. There are
# more of them than cores, because experts have unlike numbers of rows.
_PARALLEL_EXPERTS = 8


def feed_forward_segments(
    rows,
    counts,
    weights,
    activation,
    recompute=False,
    sparse_gradients=False,
):
    """Computes `activation(x W_in + b_in) W_out + b_out` for each expert.

    Args:
        rows: Tensor `(S, D)`, sorted by expert: `counts[0]` rows of expert 0,
            then those of expert 1, and so on. Rows after those of the last
            expert belong to no expert and give zeros.
        counts: int32 tensor `(E,)`.
        weights: List of tensors `kernel_in (E, D, H)`, `kernel_out (E, H,
            D')` and, with biases, `bias_in (E, H)` and `bias_out (E, D')`.
            `kernel_in` may be a tuple of kernels, whose products are put side
            by side. Kernels may be packed or have low-rank pairs, see
            `kernel_of`.
        activation: `Activation`.
        recompute: bool. Compute the hidden layer again in the backward pass
            instead of keeping it.
        sparse_gradients: bool. Give the gradients of the weights as
            `ExpertSlices` of the experts that have rows.

    Returns:
        Tensor `(S, D')`.

    Example:

    >>> from moe_keras.experts.activation import plain_activation
    >>> scale = tf.reshape([2.0, 3.0], (2, 1, 1))
    >>> y = feed_forward_segments(
    ...     rows=tf.ones((4, 1)),
    ...     counts=[1, 2],
    ...     weights=[scale, tf.ones((2, 1, 1))],
    ...     activation=plain_activation(lambda hidden: hidden),
    ... )
    >>> y.numpy().ravel().tolist()
    [2.0, 3.0, 3.0, 0.0]
    """
    segments = _Segments(tf.convert_to_tensor(counts, tf.int32))
    inside, weights = Inside.of(weights, activation)
    # Pin to the current device, or `while_loop` copies the weights through
    # device 0 once for every expert.
    weights = [tf.identity(weight) for weight in weights]

    @custom_gradient
    def run(rows, *weights):
        inputs = (rows, weights)
        if recompute:  # an eager tape would keep the hidden layer after all
            inputs = tf.nest.map_structure(tf.stop_gradient, inputs)
        outputs, kept = _forward(segments, *inputs, inside, recompute)

        def backward(d_outputs):
            gradients = _WeightGradients(segments, weights, sparse_gradients)
            return _backward(
                segments, rows, weights, inside, kept, d_outputs, gradients
            )

        return outputs, backward

    return run(rows, *weights)


def multiply_segments(rows, counts, kernels, sparse_gradients=False):
    """Computes `x W` for each expert's rows, with one kernel or with several.

    Args:
        rows: Tensor `(S, D)`, sorted by expert as for `feed_forward_segments`.
        counts: int32 tensor `(E,)`.
        kernels: List of tensors `(E, D, H)`.
        sparse_gradients: bool. As of `feed_forward_segments`.

    Returns:
        List of tensors `(S, H)`, one for each kernel; zeros for rows of no
        expert.

    Example:

    >>> scale = tf.reshape([2.0, 3.0], (2, 1, 1))
    >>> rows = tf.ones((4, 1))
    >>> (product,) = multiply_segments(rows, [1, 2], [scale])
    >>> product.numpy().ravel()
    array([2., 3., 3., 0.], dtype=float32)
    """
    segments = _Segments(tf.convert_to_tensor(counts, tf.int32))

    @custom_gradient
    def run(rows, *kernels):
        def forward(turn, expert, *products):
            inputs = segments.take(expert, rows)
            return [
                product.write(turn, tf.matmul(inputs, kernel[expert]))
                for product, kernel in zip(products, kernels, strict=True)
            ]

        def backward(*d_products):
            gradients = _WeightGradients(segments, kernels, sparse_gradients)
            return _backward_of_product(
                segments, rows, kernels, d_products, gradients
            )

        lists = [segments.empty_list(rows, k.shape[-1]) for k in kernels]
        products = segments.for_each(forward, *lists)
        joined = [segments.join(product, rows) for product in products]
        return joined, backward

    return run(rows, *map(tf.identity, kernels))


class _Segments:
    """Where each expert's rows lie in the tensor of all rows."""

    def __init__(self, counts_E):
        self.ends_E = tf.cumsum(counts_E)
        self.starts_E = self.ends_E - counts_E
        self.busy = tf.cast(tf.where(counts_E > 0)[:, 0], tf.int32)
        self.num_busy = tf.size(self.busy)

    def take(self, expert, rows):
        return rows[self.starts_E[expert] : self.ends_E[expert]]

    def for_each(self, body, *lists):
        """Runs `lists = body(turn, expert, *lists)` for the busy experts."""

        def next_turn(turn, *lists):
            return turn + 1, *body(turn, self.busy[turn], *lists)

        return tf.while_loop(
            lambda turn, *lists: turn < self.num_busy,
            next_turn,
            (0, *lists),
            parallel_iterations=_PARALLEL_EXPERTS,
        )[1:]

    def empty_list(self, like, depth):
        """Makes a list for the rows of each busy expert, and of no expert."""
        return tf.TensorArray(
            like.dtype,
            self.num_busy + 1,
            infer_shape=False,
            element_shape=(None, depth),
            clear_after_read=False,  # a persistent tape reads it again
        )

    def join(self, written, like):
        """Joins all rows in one tensor, with zeros for rows of no expert."""
        depth = written.element_shape[-1]
        nobody = tf.zeros(
            (tf.shape(like)[0] - self.ends_E[-1], depth), like.dtype
        )
        return written.write(self.num_busy, nobody).concat()


def _forward(segments, rows, weights, inside, recompute):
    def run_expert(turn, expert, outputs, kept):
        before = inside.hidden(segments.take(expert, rows), expert, weights)
        hidden = inside.activation.apply(before, expert)
        if not recompute:
            to_keep = inside.activation.to_keep(before, hidden)
            kept = kept.write(turn, to_keep)
        output = inside.outputs(hidden, expert, weights)
        return outputs.write(turn, output), kept

    # As wide as the hidden layer before the activation: an activation that
    # changes the width has no `backward`, so that its input is kept.
    width, depth = inside.widths()
    outputs, kept = segments.for_each(
        run_expert,
        segments.empty_list(rows, depth),
        segments.empty_list(rows, width),
    )
    return segments.join(outputs, rows), None if recompute else kept


def _backward(segments, rows, weights, inside, kept, d_outputs, gradients):
    # For each busy expert: recompute or read its hidden layer, then take the
    # gradient of its output back to its rows and to its own weights.
    def run_expert(turn, expert, d_rows, *written):
        inputs = segments.take(expert, rows)
        if kept is None:
            before = inside.hidden(inputs, expert, weights)
            after = inside.activation.apply(before, expert)
            saved = inside.activation.to_keep(before, after)
        else:
            saved = kept.read(turn)
        d_inputs, d_weights = inside.gradients(
            inputs,
            inside.activation.replay(saved, expert),
            segments.take(expert, d_outputs),
            expert,
            weights,
        )
        written = gradients.write(turn, expert, written, d_weights)
        return d_rows.write(turn, d_inputs), *written

    d_rows, *written = segments.for_each(
        run_expert,
        segments.empty_list(rows, rows.shape[-1]),
        *gradients.empty(),
    )
    return segments.join(d_rows, rows), *gradients.finish(written)


def _backward_of_product(segments, rows, kernels, d_products, gradients):
    def run_expert(turn, expert, d_rows, *written):
        inputs = segments.take(expert, rows)
        d_each = [segments.take(expert, d_product) for d_product in d_products]
        d_inputs = tf.add_n(
            [
                tf.matmul(d_product, kernel[expert], transpose_b=True)
                for d_product, kernel in zip(d_each, kernels, strict=True)
            ]
        )
        d_kernels = [
            tf.matmul(inputs, d_product, transpose_a=True)
            for d_product in d_each
        ]
        written = gradients.write(turn, expert, written, d_kernels)
        return d_rows.write(turn, d_inputs), *written

    d_rows, *written = segments.for_each(
        run_expert,
        segments.empty_list(rows, rows.shape[-1]),
        *gradients.empty(),
    )
    return segments.join(d_rows, rows), *gradients.finish(written)


class _WeightGradients:
    """Where the loop over the busy experts puts the gradients of weights.

    Either a list with a place for every expert, stacked at the end, where
    idle experts have written nothing and get zeros; or a buffer with a place
    for each busy one, which is written in place and never copied.
    """

    def __init__(self, segments, weights, sparse):
        self._segments = segments
        self._weights = weights
        self._sparse = sparse

    def empty(self):
        """The loop's variables at its start, one for each weight."""
        if not self._sparse:
            return [
                tf.TensorArray(w.dtype, w.shape[0], element_shape=w.shape[1:])
                for w in self._weights
            ]
        return [
            tf.raw_ops.Empty(
                shape=[self._segments.num_busy, *w.shape[1:]], dtype=w.dtype
            )
            for w in self._weights
        ]

    def write(self, turn, expert, written, gradients):
        """The loop's variables after the turn of an expert."""
        pairs = zip(written, gradients, strict=True)
        if not self._sparse:
            return [store.write(expert, gradient) for store, gradient in pairs]
        return [
            tf.raw_ops.InplaceUpdate(x=store, i=[turn], v=gradient[None])
            for store, gradient in pairs
        ]

    def finish(self, written):
        """The gradients of the weights, of the loop's variables at its end."""
        if not self._sparse:
            return [store.stack() for store in written]
        # Copied into the graph of the gradient, whose result it is.
        busy = tf.identity(self._segments.busy)
        return [
            ExpertSlices(store, busy, tf.shape(weight))
            for store, weight in zip(written, self._weights, strict=True)
        ]


class Inside:
    """The mathematics of one expert, forward and backward, on its own rows.

    Make it by `Inside.of`. Its methods take the flat list of weights with
    gradients which that returns.

    Example:

    >>> kernels = [tf.ones((1, 2, 3)), tf.ones((1, 3, 4))]
    >>> inside, weights = Inside.of(kernels, activation=None)
    >>> inside.widths()
    (3, 4)
    """

    def __init__(self, kernels_in, kernel_out, activation):
        self.kernels_in = kernels_in
        self.kernel_out = kernel_out
        self.activation = activation

    @classmethod
    def of(cls, weights, activation):
        """Make it of weights as `feed_forward_segments` takes them.

        Args:
            weights: List of `kernel_in`, or a tuple of several, `kernel_out`
                and perhaps their biases. Kernels as `kernel_of` takes them.
            activation: `Activation`.

        Returns:
            An `Inside`, and the weights with a gradient as a flat list.
        """
        kernels_in, kernel_out, *biases = weights
        if not isinstance(kernels_in, tuple | list):
            kernels_in = (kernels_in,)
        kernels, tensors = zip(
            *map(kernel_of, (*kernels_in, kernel_out)), strict=True
        )
        inside = cls(kernels[:-1], kernels[-1], activation)
        return inside, [*itertools.chain(*tensors), *biases]

    def widths(self):
        """The width of the layer before its activation, and of the outputs."""
        width = sum(kernel.width for kernel in self.kernels_in)
        return width, self.kernel_out.width

    def parts(self, weights):
        """Splits the weights: of kernels in, of kernel out, two biases."""
        left = iter(weights)
        own = [
            list(itertools.islice(left, kernel.num_weights))
            for kernel in (*self.kernels_in, self.kernel_out)
        ]
        return own[:-1], own[-1], *(tuple(left) or (None, None))

    def hidden(self, inputs_BD, expert, weights):
        """The hidden layer before its activation."""
        weights_in, _, bias_in, _ = self.parts(weights)
        products = [
            kernel.product(inputs_BD, expert, own)
            for kernel, own in zip(self.kernels_in, weights_in, strict=True)
        ]
        return _add(_side_by_side(products), bias_in, expert)

    def outputs(self, hidden_BH, expert, weights):
        _, weights_out, _, bias_out = self.parts(weights)
        product_BD = self.kernel_out.product(hidden_BH, expert, weights_out)
        return _add(product_BD, bias_out, expert)

    def gradients(self, inputs_BD, replayed, d_outputs_BD, expert, weights):
        """The gradients of the inputs and of the expert's own weights.

        `replayed` is what `Activation.replay` gives.
        """
        weights_in, weights_out, *biases = self.parts(weights)
        hidden_BH, back = replayed
        d_after_BH, d_weights_out = self.kernel_out.gradients(
            hidden_BH, d_outputs_BD, expert, weights_out
        )
        d_hidden_BH = back(d_after_BH)
        d_products = [d_hidden_BH]
        if len(self.kernels_in) > 1:
            widths = [kernel.width for kernel in self.kernels_in]
            d_products = tf.split(d_hidden_BH, widths, axis=-1)
        d_inputs, d_weights_in = zip(
            *(
                kernel.gradients(inputs_BD, d_product, expert, own)
                for kernel, own, d_product in zip(
                    self.kernels_in, weights_in, d_products, strict=True
                )
            ),
            strict=True,
        )
        d_biases = [
            bias_gradient(d_rows, bias.dtype)
            for d_rows, bias in zip(
                (d_hidden_BH, d_outputs_BD), biases, strict=True
            )
            if bias is not None
        ]
        d_weights = [*itertools.chain(*d_weights_in), *d_weights_out, *d_biases]
        return tf.add_n(d_inputs), d_weights


def _add(rows, bias, expert):
    if bias is None:
        return rows
    # TensorFlow fuses this operation with the product and the activation.
    return tf.nn.bias_add(rows, tf.cast(weight_of(expert, bias), rows.dtype))


def _side_by_side(products):
    return products[0] if len(products) == 1 else tf.concat(products, axis=-1)
