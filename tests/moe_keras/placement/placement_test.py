"""The seam to devices: whoever places experts, layers notice nothing of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_experts import C, D, E, H, built_experts

from moe_keras import FeedForwardExperts, SparseMoE
from moe_keras.dispatch import plan_dispatch
from moe_keras.gating.routing import Routing
from moe_keras.placement.placement import (
    Part,
    Placement,
    at_work,
    current_part,
    current_placement,
    read,
)


def random_batches():
    return np.random.default_rng(1).normal(size=(E, C, D))


class Recording(Placement):
    """The plain placement, and what it is asked for."""

    def __init__(self):
        self.asked, self.checked, self.runs = [], [], 0

    def add_weight(self, layer, name, draw, dims, side_by_side=1):
        self.asked.append((name, dims, side_by_side))
        return super().add_weight(layer, name, draw, dims, side_by_side)

    def check(self, experts):
        self.checked.append(experts)

    def run(self, *args):
        self.runs += 1
        return super().run(*args)


class TestScope:
    def test_blocks_nest_and_an_error_leaves_them(self):
        plain, outer, inner = current_placement(), Placement(), Placement()
        with outer.scope() as entered:
            assert entered is outer is current_placement()
            with pytest.raises(KeyError), inner.scope():
                assert current_placement() is inner
                raise KeyError
            assert current_placement() is outer
        assert current_placement() is plain

    def test_layer_keeps_the_placement_that_it_was_built_under(self):
        placement = Recording()
        with placement.scope():
            layer = SparseMoE(E, k=1, hidden_dim=H)
            layer.build((None, D))
        layer(tf.ones((3, D)))
        assert placement.checked == [layer.experts]
        assert placement.runs == 1
        assert placement.asked == [
            ("kernel_in", {"experts": E, "depth": D, "hidden": H}, 1),
            ("bias_in", {"experts": E, "hidden": H}, 1),
            ("kernel_out", {"experts": E, "hidden": H, "output": D}, 1),
            ("bias_out", {"experts": E, "output": D}, 1),
        ]


class TestPlainPlacement:
    def test_each_expert_is_drawn_by_its_number(self):
        def draw(expert, shape, dtype):
            return tf.fill(shape, tf.cast(10 * expert, dtype))

        weight = Placement().add_weight(
            keras.layers.Layer(),
            "kernel",
            draw,
            {"experts": 3, "depth": 2, "hidden": 1},
        )
        assert weight.name == "kernel"
        np.testing.assert_array_equal(
            weight, [[[0], [0]], [[10], [10]], [[20], [20]]]
        )

    @pytest.mark.parametrize(
        "capacity, expected", [(None, [8, 18.4, 15]), (2, [8, 18, 3])]
    )
    def test_results_come_back_weighted_by_the_gates(self, capacity, expected):
        # Expert 0 multiplies by 2, expert 1 by 10. Tokens 1, 2 and 3:
        # .75 * 10 * 1 + .25 * 2 * 1 = 8
        # .9 * 10 * 2 + .1 * 2 * 2 = 18.4
        # .5 * 2 * 3 + .4 * 10 * 3 = 15
        # Two slots for each expert are full after the first choices of all
        # and the second of token 1.
        index_NK = tf.constant([[1, 0], [1, 0], [0, 1]])
        gate_NK = tf.constant([[0.75, 0.25], [0.9, 0.1], [0.5, 0.4]])
        factor_E = tf.constant([2.0, 10.0])

        def multiply(slots, counts=None):
            if counts is None:
                return factor_E[:, None, None] * slots
            return tf.repeat(factor_E, counts)[:, None] * slots

        y_ND = Placement().run(
            multiply,
            tf.constant([[1.0], [2.0], [3.0]]),
            Routing(index_NK, gate_NK, importance=None, load=None),
            plan_dispatch(index_NK, 2, capacity=capacity),
        )
        np.testing.assert_allclose(y_ND[:, 0], expected, rtol=1e-6)


class TestParts:
    def test_weights_that_a_part_does_not_name_are_whole(self):
        weight, other = tf.Variable([1.0, 2.0]), tf.Variable([3.0])
        with at_work(Part({id(weight): weight[1:]})):
            assert read(weight).numpy().tolist() == [2.0]
            assert read(other).numpy().tolist() == [3.0]
        assert read(weight).numpy().tolist() == [1.0, 2.0]
        assert current_part().tensors == {}

    @pytest.mark.parametrize("number", [int, tf.constant])
    def test_only_the_first_hidden_part_has_what_is_added_once(self, number):
        bias = tf.Variable([5.0])
        for hidden_part, expected in ((0, [5.0]), (1, [0.0]), (2, [0.0])):
            with at_work(Part({}, hidden_part=number(hidden_part))):
                assert read(bias, once=True).numpy().tolist() == expected
                assert read(bias).numpy().tolist() == [5.0]

    def test_experts_in_parts_give_their_slices_of_the_whole(self):
        experts, x_ECD = built_experts(FeedForwardExperts), random_batches()
        whole = experts(x_ECD)
        for first, number in ((0, 1), (1, 3)):
            chosen = slice(first, first + number)
            tensors = {id(w): w[chosen] for w in experts.weights}
            with at_work(Part(tensors, first, number)):
                part = experts(x_ECD[chosen])
            np.testing.assert_allclose(part, whole[chosen], rtol=1e-12)

    def test_hidden_parts_add_up_to_the_whole(self):
        experts, x_ECD = built_experts(FeedForwardExperts), random_batches()
        total = 0.0
        for number, units in enumerate((slice(0, 2), slice(2, H))):
            tensors = {
                id(experts.kernel_in): experts.kernel_in[:, :, units],
                id(experts.bias_in): experts.bias_in[:, units],
                id(experts.kernel_out): experts.kernel_out[:, units],
            }
            with at_work(Part(tensors, hidden_part=number)):
                total += experts(x_ECD)
        np.testing.assert_allclose(total, experts(x_ECD), rtol=1e-12)

    def test_part_chooses_its_experts_from_a_list(self):
        experts = ["a", "b", "c", "d"]
        assert Part({}).choose(experts) == experts
        assert Part({}, first_expert=1, num_experts=2).choose(experts) == [
            "b",
            "c",
        ]

    def test_each_part_has_a_seed_of_its_own(self):
        seed = tf.constant([3, 4])
        seeds = {
            tuple(Part({}, number=number).own_seed(seed).numpy())
            for number in (0, 1, 2)
        }
        assert len(seeds) == 3
        assert Part({}).own_seed(seed) is seed


class TestStackedExperts:
    def test_weights_are_read_in_the_dtype_of_the_products(self):
        experts = FeedForwardExperts(E, H, dtype="mixed_bfloat16")
        experts.build((E, None, D))
        assert experts.kernel_in.dtype == "float32"
        assert experts.read(experts.kernel_in).dtype == tf.bfloat16

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
