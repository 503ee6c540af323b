"""Scores of attention and their gradients, in the pieces of a recurrence.

T: target length    B: batch    S: source length    D: depth of the values
P: size of the query    A: attention size

A recurrence that attends in every step (`attentive_lstm.py`) needs
what one step computes, the gradient of that, and the gradients of weights and
keys, which are found for all steps together. With `code` short for what a
score needs of the query, a scoring is an object without state and has

    encode(query_BP, parameters) -> code_BA
    scores(code_BA, keys_BSA, parameters) -> scores_BS
    scores_backward(ds_BS, code_BA, keys_BSA, transposed) -> d_code_BA
    encode_backward(d_code_BA, code_BA, transposed) -> d_query_BP
    transpose(parameters) -> transposed: the same with kernels transposed
    gradients(query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters)
        -> (d_keys_BSA, *gradients of the parameters)
"""

import dataclasses

import tensorflow as tf

from moe_keras.recurrent.lstm_step import weight_gradient


@dataclasses.dataclass(frozen=True)
class DotScoring:
    """score(x, y) = key(x) . y"""

    def encode(self, query_BP, parameters):
        return query_BP

    def scores(self, code_BA, keys_BSA, parameters):
        return tf.linalg.matvec(keys_BSA, code_BA)

    def scores_backward(self, ds_BS, code_BA, keys_BSA, transposed):
        return tf.linalg.matvec(keys_BSA, ds_BS, transpose_a=True)

    def encode_backward(self, d_code_BA, code_BA, transposed):
        return d_code_BA

    def transpose(self, parameters):
        return ()

    def gradients(
        self, query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters
    ):
        return (sum_of_outer_products(ds_TBS, code_TBA),)


@dataclasses.dataclass(frozen=True)
class ProductScoring:
    """score(x, y) = V . (key(x) tanh(y W)); parameters W (P, A) and V (A,)"""

    def encode(self, query_BP, parameters):
        kernel_PA, _ = parameters
        return tf.tanh(tf.matmul(query_BP, kernel_PA))

    def scores(self, code_BA, keys_BSA, parameters):
        _, scale_A = parameters
        return tf.linalg.matvec(keys_BSA, scale_A * code_BA)

    def scores_backward(self, ds_BS, code_BA, keys_BSA, transposed):
        _, scale_A = transposed
        return scale_A * tf.linalg.matvec(keys_BSA, ds_BS, transpose_a=True)

    def encode_backward(self, d_code_BA, code_BA, transposed):
        kernel_AP, _ = transposed
        d_product_BA = tf.raw_ops.TanhGrad(y=code_BA, dy=d_code_BA)
        return tf.matmul(d_product_BA, kernel_AP)

    def transpose(self, parameters):
        kernel_PA, scale_A = parameters
        return tf.transpose(kernel_PA), scale_A

    def gradients(
        self, query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters
    ):
        _, scale_A = parameters
        d_product_TBA = tf.raw_ops.TanhGrad(y=code_TBA, dy=d_code_TBA)
        d_pairs_BSA = sum_of_outer_products(ds_TBS, code_TBA)
        return (
            scale_A * d_pairs_BSA,
            weight_gradient(query_TBP, d_product_TBA),
            tf.reduce_sum(keys_BSA * d_pairs_BSA, axis=[0, 1]),
        )


@dataclasses.dataclass(frozen=True)
class AdditiveScoring:
    """score(x, y) = V . tanh(key(x) + y W); parameters W (P, A) and V (A,)

    A tanh for each pair of source and target position: the slow one.
    """

    def encode(self, query_BP, parameters):
        kernel_PA, _ = parameters
        return tf.matmul(query_BP, kernel_PA)

    def scores(self, code_BA, keys_BSA, parameters):
        _, scale_A = parameters
        tanh_BSA = tf.tanh(keys_BSA + code_BA[:, tf.newaxis])
        return tf.linalg.matvec(tanh_BSA, scale_A)

    def scores_backward(self, ds_BS, code_BA, keys_BSA, transposed):
        d_sum_BSA, _ = self._pairs(ds_BS, code_BA, keys_BSA, transposed)
        return tf.reduce_sum(d_sum_BSA, axis=1)

    def encode_backward(self, d_code_BA, code_BA, transposed):
        kernel_AP, _ = transposed
        return tf.matmul(d_code_BA, kernel_AP)

    def transpose(self, parameters):
        kernel_PA, scale_A = parameters
        return tf.transpose(kernel_PA), scale_A

    def gradients(
        self, query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters
    ):
        # Step by step: all pairs at once would take T times the memory.
        def body(step, d_keys_BSA, d_scale_A):
            d_sum_BSA, tanh_BSA = self._pairs(
                ds_TBS[step], code_TBA[step], keys_BSA, parameters
            )
            d_scale_A += tf.einsum("BS,BSA->A", ds_TBS[step], tanh_BSA)
            return step + 1, d_keys_BSA + d_sum_BSA, d_scale_A

        _, d_keys_BSA, d_scale_A = tf.while_loop(
            lambda step, *_: step < tf.shape(ds_TBS)[0],
            body,
            (0, tf.zeros_like(keys_BSA), tf.zeros_like(parameters[1])),
        )
        return d_keys_BSA, weight_gradient(query_TBP, d_code_TBA), d_scale_A

    def _pairs(self, ds_BS, code_BA, keys_BSA, parameters):
        _, scale_A = parameters
        tanh_BSA = tf.tanh(keys_BSA + code_BA[:, tf.newaxis])
        d_tanh_BSA = ds_BS[:, :, tf.newaxis] * scale_A
        return tf.raw_ops.TanhGrad(y=tanh_BSA, dy=d_tanh_BSA), tanh_BSA


def sum_of_outer_products(x_TBX, y_TBY):
    """`(B, X, Y)`: for each sentence the sum over steps, as one product."""
    return tf.einsum("TBX,TBY->BXY", x_TBX, y_TBY)


def attend(scoring, query_BP, memory, parameters):
    """One step: `(context (B, D), alignment (B, S), code (B, A))`.

    The softmax is done in the dtype of `memory.bias`, float32 or wider.
    """
    code_BA = scoring.encode(query_BP, parameters)
    scores_BS = scoring.scores(code_BA, memory.keys, parameters)
    alignment_BS = tf.nn.softmax(
        tf.cast(scores_BS, memory.bias.dtype) + memory.bias
    )
    context_BD = tf.linalg.matvec(
        memory.values,
        tf.cast(alignment_BS, memory.values.dtype),
        transpose_a=True,
    )
    return context_BD, alignment_BS, code_BA
