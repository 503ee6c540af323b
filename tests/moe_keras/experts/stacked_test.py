"""Stacked experts: all of them, or those that one device runs."""

import numpy as np
import pytest
import tensorflow as tf
from small_experts import C, D, E, H, built_experts

from moe_keras import FeedForwardExperts, SparseMoE
from moe_keras.placement.local_experts import LocalExperts


def random_batches():
    return np.random.default_rng(1).normal(size=(E, C, D))


class TestLocalExperts:
    @pytest.mark.parametrize("number", [int, tf.constant])
    def test_only_the_first_hidden_part_has_what_is_added_once(self, number):
        experts = FeedForwardExperts(E, H)
        for hidden_part, expected in ((0, [5.0]), (1, [0.0]), (2, [0.0])):
            local = LocalExperts(
                {"bias": tf.constant([5.0])}, 0, E, number(hidden_part)
            )
            once = experts.read("bias", local, once=True)
            assert once.numpy().tolist() == expected
            assert experts.read("bias", local).numpy().tolist() == [5.0]

    def test_weight_that_is_not_handed_over_is_an_error(self):
        experts = built_experts(FeedForwardExperts)
        local = LocalExperts({"kernel_in": experts.kernel_in}, 0, E)
        with pytest.raises(KeyError, match="kernel_out"):
            experts(random_batches(), local=local)

    def test_some_experts_give_their_slices_of_the_whole(self):
        experts, x_ECD = built_experts(FeedForwardExperts), random_batches()
        whole = experts(x_ECD)
        for first, number in ((0, 1), (1, 3)):
            chosen = slice(first, first + number)
            weights = {
                name: weight[chosen]
                for name, weight in experts.expert_weights.items()
            }
            local = LocalExperts(weights, first, number)
            part = experts(x_ECD[chosen], local=local)
            np.testing.assert_allclose(part, whole[chosen], rtol=1e-12)

    def test_hidden_parts_add_up_to_the_whole(self):
        experts, x_ECD = built_experts(FeedForwardExperts), random_batches()
        total = 0.0
        for number, units in enumerate((slice(0, 2), slice(2, H))):
            weights = {
                "kernel_in": experts.kernel_in[:, :, units],
                "bias_in": experts.bias_in[:, units],
                "kernel_out": experts.kernel_out[:, units],
                "bias_out": tf.convert_to_tensor(experts.bias_out),
            }
            local = LocalExperts(weights, 0, E, hidden_part=number)
            total += experts(x_ECD, local=local)
        np.testing.assert_allclose(total, experts(x_ECD), rtol=1e-12)

    def test_experts_are_chosen_from_a_list(self):
        local = LocalExperts({}, first_expert=1, num_experts=2)
        assert local.choose(["a", "b", "c", "d"]) == ["b", "c"]

    def test_each_device_has_a_seed_of_its_own(self):
        seed = tf.constant([3, 4])
        seeds = {
            tuple(LocalExperts({}, 0, E, 0, device).seed(seed).numpy())
            for device in (0, 1, 2)
        }
        assert len(seeds) == 3
        assert LocalExperts({}, 0, E).seed(seed) is seed


class TestStackedExperts:
    def test_weights_are_read_in_the_dtype_of_the_products(self):
        experts = FeedForwardExperts(E, H, dtype="mixed_bfloat16")
        experts.build((E, None, D))
        assert experts.kernel_in.dtype == "float32"
        assert experts.read("kernel_in", None).dtype == tf.bfloat16

    def test_store_holds_the_weights_in_the_order_of_their_making(self):
        experts, store = built_experts(FeedForwardExperts), {}
        experts.save_own_variables(store)
        names = ("kernel_in", "bias_in", "kernel_out", "bias_out")
        for number, name in enumerate(names):
            np.testing.assert_array_equal(
                store[str(number)], getattr(experts, name)
            )
        other = built_experts(FeedForwardExperts)
        for weight in other.weights:
            weight.assign(tf.zeros(weight.shape))
        other.load_own_variables(store)
        for ours, theirs in zip(other.weights, experts.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_file_with_other_weights_is_refused(self):
        store = {}
        built_experts(FeedForwardExperts, use_bias=False).save_own_variables(
            store
        )
        with pytest.raises(ValueError, match="has 4 weights. Received: 2 in"):
            built_experts(FeedForwardExperts).load_own_variables(store)

    def test_weight_names_and_their_order_stay(self):
        """Files and checkpoints hold weights by these names and places."""
        layer = SparseMoE(E, k=2, hidden_dim=H, name="moe")
        layer.build((None, D))
        assert [weight.path for weight in layer.weights] == [
            "moe/gate/gate_kernel",
            "moe/gate/noise_kernel",
            "moe/experts/kernel_in",
            "moe/experts/bias_in",
            "moe/experts/kernel_out",
            "moe/experts/bias_out",
        ]
