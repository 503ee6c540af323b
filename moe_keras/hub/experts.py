"""The work of the experts of a block: each on the tokens that chose it.

N: tokens    D: depth    S: rows of all experts, sorted by expert
B: batch    T: time
"""

import tensorflow as tf

from moe_keras.dispatch import combine, dispatch, plan_dispatch
from moe_keras.experts.activation import Activation
from moe_keras.experts.blocks import feed_forward_blocks
from moe_keras.experts.kernels import kernel_of, weight_of
from moe_keras.experts.segments import feed_forward_segments
from moe_keras.hub.padding import padding_of_prompt
from moe_keras.xla import is_compiled_by_xla

ENGINES = ("auto", "segments", "blocks")

# Choices up to which experts run one by one: a step of `generate` for a text
# or a few. Beyond it a loop over experts has the smaller graph.
_ONE_BY_ONE = 16


class ChosenExperts:
    """Runs the chosen experts of a block; `sparsify` makes it.

    Args:
        engine: One of `ENGINES`, see `sparsify`.
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
    >>> expert_NK = tf.constant([[2, 0], [1, 2]])
    >>> choice = Choice(expert_NK, gate=tf.constant([[0.5, 0.5], [1.0, 0.0]]))
    >>> ChosenExperts()(tf.ones((2, 1)), choice, bank).numpy().tolist()
    [[2.0], [2.0]]
    """

    def __init__(self, engine="auto", skip_padding=False):
        self.engine = engine
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
        tokens = tf.cast(tokens, bank.kernel_out.dtype)
        if padding is None and bank.num_experts == 1:
            return _run_the_only_one(tokens, choice, bank)
        if padding is None and not training and _is_small(choice):
            return _run_one_by_one(tokens, choice, bank)
        mask_N = None if padding is None else tf.reshape(padding, [-1])
        plan = plan_dispatch(choice.expert, bank.num_experts, mask_N)
        outputs_SD = self._run(
            dispatch(tokens, plan),
            plan.counts,
            [bank.kernels_in, bank.kernel_out, *bank.biases],
            Activation(lambda hidden, expert: bank.join(hidden)),
            # Without training nothing is kept: the gradient of a SavedModel
            # cannot capture the list in which it would be.
            recompute=not training,
        )
        return combine(outputs_SD, plan, choice.gate)

    @property
    def _run(self):
        in_blocks = self.engine == "blocks" or (
            self.engine == "auto" and is_compiled_by_xla()
        )
        return feed_forward_blocks if in_blocks else feed_forward_segments


def _is_small(choice):
    shape = choice.expert.shape
    return shape[0] is not None and 0 < shape[0] * shape[1] <= _ONE_BY_ONE


def _run_the_only_one(tokens_ND, choice, bank):
    """Runs the one expert of a block on all tokens, as they come."""
    gate_N1 = tf.cast(choice.gate, tokens_ND.dtype)
    return gate_N1 * _runner(bank)(tokens_ND, 0)


def _runner(bank):
    """A function `(rows, expert) -> outputs` of one expert on its rows."""
    bias_in, bias_out = bank.biases or (None, None)
    kernels_in = [kernel_of(kernel) for kernel in bank.kernels_in]
    kernel_out, weights_out = kernel_of(bank.kernel_out)

    def run(rows, expert):
        products = [
            kernel.product(rows, expert, weights)
            for kernel, weights in kernels_in
        ]
        hidden = products[0] if len(products) == 1 else tf.concat(products, -1)
        if bias_in is not None:
            hidden += weight_of(expert, bias_in)
        outputs = kernel_out.product(bank.join(hidden), expert, weights_out)
        if bias_out is not None:
            outputs += weight_of(expert, bias_out)
        return outputs

    return run


def _run_one_by_one(tokens_ND, choice, bank):
    """Runs the few choices of one step of `generate` as they come.

    Nothing is sorted and no weight copied: a slice of the first dimension is
    the weight itself.
    """
    run = _runner(bank)
    gate_NK = tf.cast(choice.gate, tokens_ND.dtype)
    num_tokens, k = choice.expert.shape
    return tf.concat(
        [
            tf.add_n(
                [
                    gate_NK[n, j]
                    * run(tokens_ND[n : n + 1], choice.expert[n, j])
                    for j in range(k)
                ]
            )
            for n in range(num_tokens)
        ],
        axis=0,
    )
