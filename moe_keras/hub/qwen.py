"""Qwen1.5-MoE, Qwen3-MoE (arXiv:2505.09388) and Qwen3.5-MoE.

N: tokens    D: depth    E: experts    B: batch    T: time
"""

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
    "_expert_feedforward_output_dense",
)


def _call_qwen(
    block, experts, hidden_states, attention_mask=None, training=False
):
    outputs_ND, tokens_ND, logits_NE = _routed(
        block, experts, hidden_states, attention_mask, training
    )
    shared_ND = block.shared_expert_dense(tokens_ND)
    shared_ND *= tf.sigmoid(block.shared_expert_gate_dense(tokens_ND))
    outputs_ND += shared_ND
    return tf.reshape(outputs_ND, tf.shape(hidden_states)), logits_NE


def _call_qwen3(
    block, experts, hidden_states, attention_mask=None, training=False
):
    outputs_ND, _, logits_NE = _routed(
        block, experts, hidden_states, attention_mask, training
    )
    return tf.reshape(outputs_ND, tf.shape(hidden_states)), logits_NE


def _routed(block, experts, hidden_states, attention_mask, training):
    """Everything but the shared expert, as in Qwen1.5-MoE and Qwen3-MoE."""
    tokens_ND = tf.reshape(hidden_states, [-1, block.hidden_dim])
    logits_NE = block._sparse_feedforward_gate_dense(tokens_ND)
    choice = top_k_of_softmax(logits_NE, block.top_k, block.norm_top_k_prob)
    bank = _bank(block.expert_bank, block.expert_bank.activation)
    padding_BT = experts.padding(attention_mask)
    outputs_ND = experts(tokens_ND, choice, bank, padding_BT, training)
    if training:
        # The function takes an attention mask (B, T, T) and counts the tokens
        # that see any other.
        mask = attention_mask
        if padding_BT is not None:
            mask = padding_BT[:, :, None]
        weight = block.router_aux_loss_coefficient
        add_balance_loss(block, logits_NE, block.top_k, mask, weight)
    return outputs_ND, tokens_ND, logits_NE


def _call_qwen3_5(
    block, experts, hidden_states, attention_mask=None, training=False
):
    tokens_ND = tf.reshape(hidden_states, [-1, block.hidden_dim])
    shared_ND = block.shared_expert(tokens_ND)
    shared_ND *= tf.sigmoid(block._shared_expert_gate(tokens_ND))
    logits_NE = block._router_gate(tokens_ND)
    choice = top_k_of_softmax(logits_NE, block.top_k, normalize=True)
    bank = _bank(block.expert_bank, lambda gate: in_float32(tf.nn.silu, gate))
    padding_BT = experts.padding(attention_mask)
    outputs_ND = experts(tokens_ND, choice, bank, padding_BT, training)
    if training:
        mask = attention_mask if padding_BT is None else padding_BT
        weight = block.router_aux_loss_coefficient
        add_balance_loss(block, logits_NE, block.top_k, mask, weight)
    outputs_ND += shared_ND
    return tf.reshape(outputs_ND, tf.shape(hidden_states)), logits_NE


def _bank(bank, activation):
    """Gate and linear part lie side by side in one kernel."""
    kernel_in, kernel_out = read(bank, *_KERNELS)

    def join(hidden):
        gate, linear = tf.split(hidden, 2, axis=-1)
        return activation(gate) * linear

    return ExpertBank((kernel_in,), kernel_out, join)


QWEN_MOE = Family(
    name="Qwen1.5-MoE",
    layer="keras_hub.src.models.qwen_moe.qwen_moe_decoder.QwenSparseMoeBlock",
    call=_call_qwen,
    bank=lambda block: block.expert_bank,
    kernels=_KERNELS,
    routers=lambda block: (
        block._sparse_feedforward_gate_dense,
        block.shared_expert_gate_dense,
    ),
)
QWEN3_MOE = Family(
    name="Qwen3-MoE",
    layer=(
        "keras_hub.src.models.qwen3_moe.qwen3_moe_decoder.Qwen3SparseMoeBlock"
    ),
    call=_call_qwen3,
    bank=lambda block: block.expert_bank,
    kernels=_KERNELS,
    routers=lambda block: (block._sparse_feedforward_gate_dense,),
)
QWEN3_5_MOE = Family(
    name="Qwen3.5-MoE",
    layer=(
        "keras_hub.src.models.qwen3_5_moe.qwen3_5_moe_decoder"
        ".Qwen3_5MoeSparseMoeBlock"
    ),
    call=_call_qwen3_5,
    bank=lambda block: block.expert_bank,
    kernels=_KERNELS,
    routers=lambda block: (block._router_gate, block._shared_expert_gate),
)
