"""The work of the experts of a block: each on the tokens that chose it.

N: tokens    D: depth    S: rows of all experts, sorted by expert
B: batch    T: time
"""

import tensorflow as tf

from moe_keras.dispatch import combine, dispatch, plan_dispatch
from moe_keras.experts.segments import (
    Activation,
    feed_forward_segments,
    multiply_segments,
)
from moe_keras.hub.padding import padding_of_prompt


class ChosenExperts:
    """Runs the chosen experts of a block; `sparsify` makes it.

    Args:
        skip_padding: bool. Whether tokens under a padding mask are left out
            of experts and losses wherever a block is handed the mask.

    Call arguments:
        tokens: Tensor `(N, D)`.
        choice: `Choice`.
        bank: `ExpertBank`.
        padding: Boolean mask of N entries, such as `(B, T)`; tokens to leave
            out are False and come out as zeros. None for no such token.
        training: bool. Hidden layers are kept for the gradient only then.

    Returns:
        Tensor `(N, D)`, the outputs of the experts, weighed and added up.

    Example:

    >>> from moe_keras.hub.family import Choice, ExpertBank
    >>> scale_EDH = tf.reshape([1.0, 2.0, 3.0], (3, 1, 1))
    >>> bank = ExpertBank((scale_EDH,), tf.ones((3, 1, 1)), tf.nn.relu)
    >>> choice = Choice(expert=[[2, 0], [1, 2]], gate=[[0.5, 0.5], [1.0, 0.0]])
    >>> ChosenExperts()(tf.ones((2, 1)), choice, bank).numpy().tolist()
    [[2.0], [2.0]]
    """

    def __init__(self, skip_padding=False):
        self.skip_padding = skip_padding

    def padding(self, mask=None):
        """The tokens that are no padding, where that is to be regarded.

        Args:
            mask: The mask that a block is handed: of padding `(B, T)`, or of
                attention `(B, T, T)`, in which a token that is no padding
                sees itself.

        Returns:
            Boolean tensor `(B, T)`, or None where no token is to be left out.
        """
        prompt_BT = padding_of_prompt()
        if prompt_BT is not None:
            return tf.cast(prompt_BT, tf.bool)
        if mask is None or not self.skip_padding:
            return None
        if mask.shape.rank == 3:
            mask = tf.linalg.diag_part(mask)
        return tf.cast(mask, tf.bool)

    def __call__(self, tokens, choice, bank, padding=None, training=False):
        mask_N = None if padding is None else tf.reshape(padding, [-1])
        plan = plan_dispatch(choice.expert, bank.num_experts, mask_N)
        rows_SD = dispatch(tokens, plan)
        outputs_SD = _run_segments(rows_SD, plan.counts, bank, training)
        return combine(outputs_SD, plan, choice.gate)


def _run_segments(rows_SD, counts_E, bank, training):
    if len(bank.kernels_in) == 1:
        return feed_forward_segments(
            rows_SD,
            counts_E,
            [*bank.kernels_in, bank.kernel_out, *bank.biases],
            Activation(lambda hidden, expert: bank.join(hidden)),
            # Without training nothing is kept: the gradient of a SavedModel
            # cannot capture the list in which it would be.
            recompute=not training,
        )
    hidden_SH = bank.join(
        *(multiply_segments(rows_SD, counts_E, k) for k in bank.kernels_in)
    )
    return multiply_segments(hidden_SH, counts_E, bank.kernel_out)
