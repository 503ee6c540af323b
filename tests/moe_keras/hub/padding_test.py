"""Padding goes to no expert where it is known, and it changes no token."""

import numpy as np
import pytest
import small_hub
import tensorflow as tf

from moe_keras.hub import experts, sparsify


@pytest.fixture
def dispatched(monkeypatch):
    """Counts the choices that experts compute, call by call."""
    counts = []

    def counting(*args, **kwargs):
        plan = experts_plan(*args, **kwargs)
        counts.append(int(tf.reduce_sum(plan.counts)))
        return plan

    experts_plan = experts.plan_dispatch
    monkeypatch.setattr(experts, "plan_dispatch", counting)
    return counts


@pytest.mark.parametrize("family", small_hub.FAMILIES)
def test_padding_of_a_prompt_is_not_computed(family, dispatched):
    model = sparsify(small_hub.make(family))
    small_hub.compiled(model, run_eagerly=True)
    inputs = small_hub.batch(family, lengths=(6, 6))
    model.generate(dict(inputs), stop_token_ids=None)
    k = small_hub.experts_per_token(model)
    # Two layers read 2 prompts of 6 tokens, of 8 with padding. The tokens of
    # the answer are too few at a time to be dispatched.
    assert dispatched == [2 * 6 * k] * 2


@pytest.mark.parametrize("family", ["mixtral", "qwen_moe", "qwen3_moe"])
@pytest.mark.parametrize("skip_padding", [False, True])
def test_a_block_is_told_of_padding(family, skip_padding, dispatched):
    model = sparsify(small_hub.make(family), skip_padding=skip_padding)
    model(small_hub.batch(family, lengths=(8, 5, 3)))
    k = small_hub.experts_per_token(model)
    # 16 of 3 x 8 places hold a token.
    assert dispatched == [(16 if skip_padding else 24) * k] * 2


@pytest.mark.parametrize(
    "family", ["mixtral", "qwen_moe", "qwen3_moe", "qwen3_5_moe"]
)
def test_padding_counts_in_no_balancing_loss_on_request(family):
    sizes = {"num_layers": 1}
    if family == "qwen3_5_moe":
        sizes["layer_types"] = ["full_attention"]
    model = sparsify(small_hub.make(family, **sizes), skip_padding=True)
    long = small_hub.batch(family, lengths=(5,))
    short = {name: value[:, :5] for name, value in long.items()}

    def loss(inputs):
        model(inputs, training=True)
        (value,) = model.losses
        return float(value)

    assert loss(long) == pytest.approx(loss(short), rel=1e-6)
    # What stands in the places of padding is of no consequence.
    long["token_ids"][0, 5:] = 7
    assert loss(long) == pytest.approx(loss(short), rel=1e-6)


@pytest.mark.parametrize("family", ["qwen_moe", "qwen3_moe"])
def test_keras_hub_counts_padding_in_the_loss_of_qwen(family):
    model = sparsify(small_hub.make(family, num_layers=1))
    inputs = small_hub.batch(family, lengths=(5,))

    def loss(ids):
        model({**inputs, "token_ids": ids}, training=True)
        (value,) = model.losses
        return float(value)

    changed = np.where(inputs["padding_mask"], inputs["token_ids"], 7)
    assert loss(changed) != pytest.approx(loss(inputs["token_ids"]), rel=1e-6)
