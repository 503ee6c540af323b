"""Feed-forward experts on ragged segments, in shapes that XLA knows.

XLA compiles no tensor whose size depends on the routing, and the segments of
`segments.py` are such tensors. Here each segment is cut into blocks of B rows,
the last of an expert filled up with zeros. `S / B + E` blocks are enough for
whatever routing, so that no token is dropped and all shapes are known; a loop
runs only over the blocks that the routing needs.

The gradient is written out, because that of TensorFlow's loop would add the
gradients of all experts' weights for every block.

S: rows of all experts, sorted by expert    B: rows of a block    M: blocks
D: depth    H: hidden size    E: experts
"""

import math

import tensorflow as tf

from moe_keras.experts.segments import Inside
from moe_keras.gradients.custom_gradient import custom_gradient

# Beyond it matrix products gain nothing, and the last blocks of experts waste.
_MOST_ROWS = 256
# Where the number of rows is not known while the graph is made.
_DEFAULT_ROWS = 16


def feed_forward_blocks(rows, counts, weights, activation, recompute=False):
    """`activation(x W_in + b_in) W_out + b_out` of each expert's own rows.

    It takes what `feed_forward_segments` takes and gives what it gives.

    Args:
        rows: Tensor `(S, D)`, sorted by expert; rows behind the last expert's
            belong to nobody and give zeros.
        counts: int32 tensor `(E,)`, rows of each expert.
        weights: List of `kernel_in (E, D, H)`, `kernel_out (E, H', D')` and,
            with biases, `bias_in (E, H)` and `bias_out (E, D')`. In the place
            of `kernel_in` a tuple of kernels may stand: the products with them
            come side by side.
        activation: `Activation`.
        recompute: bool. Compute the hidden layer again in the backward pass
            instead of keeping it.

    Returns:
        Tensor `(S, D')`.

    Example:

    >>> from moe_keras.experts.activation import Activation
    >>> scale = tf.reshape([2.0, 3.0], (2, 1, 1))
    >>> y = feed_forward_blocks(
    ...     rows=tf.ones((4, 1)),
    ...     counts=[1, 2],
    ...     weights=[scale, tf.ones((2, 1, 1))],
    ...     activation=Activation(lambda hidden, expert: hidden),
    ... )
    >>> y.numpy().ravel().tolist()
    [2.0, 3.0, 3.0, 0.0]
    """
    inside, weights = Inside.of(weights, activation)
    blocks = _Blocks(rows, tf.convert_to_tensor(counts, tf.int32))

    @custom_gradient
    def run(rows, *weights):
        inputs = (rows, weights)
        if recompute:  # an eager tape would keep the hidden layer after all
            inputs = tf.nest.map_structure(tf.stop_gradient, inputs)
        outputs, kept = _forward(blocks, *inputs, inside, recompute)

        def backward(d_outputs):
            return _backward(blocks, rows, weights, inside, kept, d_outputs)

        return outputs, backward

    return run(rows, *weights)


class _Blocks:
    """The place and the expert of each block of a segmented tensor.

    Args:
        rows: Tensor `(S, D)`.
        counts_E: int32 tensor.
    """

    def __init__(self, rows, counts_E):
        # Each expert's segment is cut into blocks of equal size. For each block
        # find its expert and first row, and for each row its place in a block.
        self.num_experts = num_experts = counts_E.shape[0]
        num_rows = rows.shape[0]
        self.size = _rows_of_a_block(num_rows, num_experts)
        if num_rows is None:
            num_rows = tf.shape(rows)[0]
            most_busy = tf.minimum(num_experts, num_rows)
        else:
            most_busy = min(num_experts, num_rows)
        self.num_blocks = num_rows // self.size + most_busy
        ends_E = tf.cumsum(counts_E)
        starts_E = ends_E - counts_E
        blocks_E = (counts_E + self.size - 1) // self.size
        upto_E = tf.cumsum(blocks_E)
        self.num_used = tf.reduce_sum(blocks_E)
        self.expert_M = _bin_of(tf.range(self.num_blocks), upto_E)
        self.place_M = tf.range(self.num_blocks) - tf.gather(
            upto_E - blocks_E, self.expert_M
        )
        self.start_M = self.size * self.place_M + tf.gather(
            starts_E, self.expert_M
        )
        self.end_M = tf.gather(ends_E, self.expert_M)
        row_S = tf.range(num_rows)
        expert_S = _bin_of(row_S, ends_E)
        self.has_expert_S = row_S < tf.reduce_sum(counts_E)
        # Row r of block m lies at m * size + r when blocks are joined.
        self.source_S = (
            row_S
            - tf.gather(starts_E, expert_S)
            + self.size * tf.gather(upto_E - blocks_E, expert_S)
        )

    def take(self, block, rows):
        """The rows of a block; zeros behind the last of the expert."""
        row_B = tf.gather(self.start_M, block) + tf.range(self.size)
        is_own_B = row_B < tf.gather(self.end_M, block)
        rows_BD = tf.gather(rows, tf.where(is_own_B, row_B, 0))
        return tf.where(is_own_B[:, None], rows_BD, 0)

    def empty_list(self, dtype, depth):
        return tf.TensorArray(
            dtype,
            self.num_blocks,
            element_shape=(self.size, depth),
            clear_after_read=False,
        )

    def for_each(self, body, *lists):
        """Runs `lists = body(block, expert, *lists)` for the blocks in use."""

        def next_block(block, *lists):
            return block + 1, *body(
                block, tf.gather(self.expert_M, block), *lists
            )

        return tf.while_loop(
            lambda block, *lists: block < self.num_used, next_block, (0, *lists)
        )[1:]

    def seed(self, block):
        """A number for the activation, such as the seed of its dropout.

        The first block of an expert has the number of the expert, and no two
        blocks have the same number.
        """
        place = tf.gather(self.place_M, block)
        return tf.gather(self.expert_M, block) + self.num_experts * place

    def join(self, written):
        """The rows of all blocks in one tensor `(S, D)`."""
        depth = written.element_shape[-1]
        flat = tf.reshape(written.stack(), [-1, depth])
        if self.source_S.shape[0] == 0:
            return tf.zeros((0, depth), written.dtype)
        rows_SD = tf.gather(flat, tf.where(self.has_expert_S, self.source_S, 0))
        return tf.where(self.has_expert_S[:, None], rows_SD, 0)


def _forward(blocks, rows, weights, inside, recompute):
    def run_block(block, expert, outputs, *kept):
        before = inside.hidden(blocks.take(block, rows), expert, weights)
        hidden = inside.activation.apply(before, blocks.seed(block))
        output = inside.outputs(hidden, expert, weights)
        to_keep = inside.activation.to_keep(before, hidden)
        return (
            outputs.write(block, output),
            *(each.write(block, to_keep) for each in kept),
        )

    width, depth = inside.widths()
    lists = [blocks.empty_list(rows.dtype, depth)]
    if not recompute:
        lists.append(blocks.empty_list(rows.dtype, width))
    outputs, *kept = blocks.for_each(run_block, *lists)
    return blocks.join(outputs), kept[0] if kept else None


def _backward(blocks, rows, weights, inside, kept, d_outputs):
    # For each block in use: recompute or read its hidden layer, then take the
    # gradient of its output back to its rows and to its expert's weights.
    def run_block(block, expert, d_rows, sums, d_weights):
        inputs = blocks.take(block, rows)
        if kept is None:
            before = inside.hidden(inputs, expert, weights)
            after = inside.activation.apply(before, blocks.seed(block))
            saved = inside.activation.to_keep(before, after)
        else:
            saved = kept.read(block)
        d_inputs, gradients = inside.gradients(
            inputs,
            inside.activation.replay(saved, blocks.seed(block)),
            blocks.take(block, d_outputs),
            expert,
            weights,
        )
        # The blocks of an expert follow each other: its sum begins anew with
        # its first, and what is written with its last stays.
        is_first = tf.gather(blocks.place_M, block) == 0
        sums = [
            gradient + tf.where(is_first, tf.zeros_like(total), total)
            for gradient, total in zip(gradients, sums, strict=True)
        ]
        d_weights = [
            d_weight.write(expert, total)
            for d_weight, total in zip(d_weights, sums, strict=True)
        ]
        return d_rows.write(block, d_inputs), sums, d_weights

    d_rows, _, d_weights = blocks.for_each(
        run_block,
        blocks.empty_list(rows.dtype, rows.shape[-1]),
        [tf.zeros(weight.shape[1:], weight.dtype) for weight in weights],
        [
            tf.TensorArray(w.dtype, w.shape[0], element_shape=w.shape[1:])
            for w in weights
        ],
    )
    # Idle experts have written nothing: `stack` gives them zeros.
    return blocks.join(d_rows), *(each.stack() for each in d_weights)


def _rows_of_a_block(num_rows, num_experts):
    """A power of two near half of what an expert gets when load is even."""
    if num_rows is None:
        return _DEFAULT_ROWS
    half_share = num_rows / num_experts / 2
    if half_share <= 1:
        return 1
    return min(2 ** round(math.log2(half_share)), _MOST_ROWS)


def _bin_of(numbers, ends):
    """The bin of each number, of bins that end (exclusive) at `ends`."""
    found = tf.searchsorted(ends, numbers, side="right")
    return tf.minimum(found, ends.shape[0] - 1)
