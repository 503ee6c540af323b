"""Mixtral (arXiv:2401.04088).

N: tokens    D: depth    E: experts
"""

import keras
import tensorflow as tf

from moe_keras.hub.family import (
    ExpertBank,
    Family,
    add_balance_loss,
    in_float32,
    read,
    top_k_of_softmax,
)

_KERNELS = (
    "_expert_feedforward_gate_dense",
    "_expert_feedforward_intermediate_dense",
    "_expert_feedforward_output_dense",
)


def _call(block, experts, hidden_states, attention_mask=None, training=False):
    tokens_ND = tf.reshape(hidden_states, [-1, block.hidden_dim])
    if training and block.router_jitter_noise > 0:
        tokens_ND *= keras.random.uniform(
            tf.shape(tokens_ND),
            minval=1.0 - block.router_jitter_noise,
            maxval=1.0 + block.router_jitter_noise,
            dtype=tokens_ND.dtype,
        )
    logits_NE = block._sparse_feedforward_gate_dense(tokens_ND)
    choice = top_k_of_softmax(logits_NE, block.top_k, normalize=True)
    padding = experts.padding(attention_mask)
    outputs_ND = experts(tokens_ND, choice, _bank(block), padding, training)
    if training:
        mask = attention_mask if padding is None else padding
        add_balance_loss(
            block, logits_NE, block.top_k, mask, block.router_aux_loss_coef
        )
    return tf.reshape(outputs_ND, tf.shape(hidden_states)), logits_NE


def _bank(block):
    bank = block.expert_bank
    kernel_gate, kernel_linear, kernel_out = read(bank, *_KERNELS)

    def join(hidden):
        gate, linear = tf.split(hidden, 2, axis=-1)
        return in_float32(bank.activation, gate) * linear

    return ExpertBank((kernel_gate, kernel_linear), kernel_out, join)


MIXTRAL = Family(
    name="Mixtral",
    layer="keras_hub.src.models.mixtral.mixtral_decoder.MixtralSparseMoeBlock",
    call=_call,
    bank=lambda block: block.expert_bank,
    kernels=_KERNELS,
    routers=lambda block: (block._sparse_feedforward_gate_dense,),
)
