"""Greedy `generate` gives keras-hub's tokens, whatever compiles it."""

import numpy as np
import pytest
import small_hub

from moe_keras.hub import sparsify


@pytest.fixture(scope="module", params=small_hub.TRACED)
def family(request):
    return request.param


def _tokens(model, family, **arguments):
    small_hub.compiled(model, **arguments)
    inputs = small_hub.batch(family)
    return model.generate(inputs, stop_token_ids=None)["token_ids"]


@pytest.fixture(scope="module")
def expected(family):
    """What keras-hub's own model says; 3 prompts of 3 lengths."""
    model = small_hub.make(family)
    ids = _tokens(model, family, jit_compile=False)
    prompts = small_hub.batch(family)
    mask = prompts["padding_mask"]
    np.testing.assert_array_equal(ids[mask], prompts["token_ids"][mask])
    return ids


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine, jit_compile", [("auto", False), ("auto", True), ("blocks", False)]
)
def test_the_tokens_are_those_of_keras_hub(
    family, expected, engine, jit_compile
):
    if jit_compile and family == "qwen3_5_moe":
        pytest.skip("XLA takes minutes for keras-hub's linear attention")
    model = sparsify(small_hub.make(family), engine=engine)
    ids = _tokens(model, family, jit_compile=jit_compile)
    np.testing.assert_array_equal(ids, expected)


def test_many_texts_at_once_and_one(family):
    """One text takes the experts one by one, twelve take them in a loop."""
    dense, sparse = small_hub.make(family), sparsify(small_hub.make(family))
    for lengths in ((3,), (4, 3) * 6):
        inputs = small_hub.batch(family, lengths=lengths)
        expected, ids = (
            small_hub.compiled(model, run_eagerly=True).generate(
                dict(inputs), stop_token_ids=None
            )["token_ids"]
            for model in (dense, sparse)
        )
        np.testing.assert_array_equal(ids, expected)
