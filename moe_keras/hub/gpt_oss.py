"""GPT-OSS (arXiv:2508.10925).

N: tokens    D: depth    H: hidden size    E: experts
"""

import tensorflow as tf

from moe_keras.hub.family import (
    ExpertBank,
    Family,
    is_training,
    read,
    top_k_of_weights,
)


def _call(block, experts, hidden_states):
    tokens_ND = tf.reshape(hidden_states, [-1, block.hidden_dim])
    scores_NE = block.router(tokens_ND)
    choice = top_k_of_weights(scores_NE, block.top_k)
    bank, training = _bank(block.experts), is_training(block)
    outputs_ND = experts(tokens_ND, choice, bank, experts.padding(), training)
    return tf.reshape(outputs_ND, tf.shape(hidden_states)), scores_NE


def _bank(bank):
    kernel_in, bias_in, kernel_out, bias_out = read(
        bank,
        "gate_up_proj",
        "gate_up_proj_bias",
        "down_proj",
        "down_proj_bias",
    )

    def join(hidden):
        """Gate and linear part alternate; both are clipped."""
        gate, linear = hidden[..., ::2], hidden[..., 1::2]
        gate = tf.minimum(gate, bank.limit)
        linear = tf.clip_by_value(linear, -bank.limit, bank.limit)
        return (linear + 1) * gate * tf.sigmoid(bank.alpha * gate)

    return ExpertBank((kernel_in,), kernel_out, join, (bias_in, bias_out))


GPT_OSS = Family(
    name="GPT-OSS",
    layer="keras_hub.src.models.gpt_oss.gpt_oss_decoder.GptOssSparseMoeBlock",
    call=_call,
    bank=lambda block: block.experts,
    kernels=("gate_up_proj", "down_proj"),
    routers=lambda block: (block.router,),
)
