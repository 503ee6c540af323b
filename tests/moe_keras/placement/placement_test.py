"""The seam to devices: whoever places experts, layers notice nothing of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_experts import D, E, H

from moe_keras import SparseMoE
from moe_keras.dispatch import plan_dispatch
from moe_keras.experts.initial_values import each_alone
from moe_keras.gating.routing import Routing
from moe_keras.placement.placement import (
    Placement,
    current_placement,
    draw_all,
)


class Recording(Placement):
    """The plain placement, and what it is asked for."""

    def __init__(self):
        self.asked, self.checked, self.calls = [], [], 0

    def add_weight(self, layer, name, draw, dims, side_by_side=1):
        self.asked.append((name, dims, side_by_side))
        return super().add_weight(layer, name, draw, dims, side_by_side)

    def check(self, experts):
        self.checked.append(experts)

    def dispatcher(self, *args):
        self.calls += 1
        return super().dispatcher(*args)


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
        assert placement.calls == 1
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

        dispatcher = Placement().dispatcher(
            Routing(index_NK, gate_NK, importance=None, load=None),
            plan_dispatch(index_NK, 2, capacity=capacity),
        )
        slots = dispatcher.dispatch(tf.constant([[1.0], [2.0], [3.0]]))
        y_ND = dispatcher.combine(dispatcher.run(multiply, slots))
        np.testing.assert_allclose(y_ND[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "initializer",
    [
        keras.initializers.GlorotUniform(seed=3),
        keras.initializers.HeNormal(seed=5),
        keras.initializers.Orthogonal(seed=1),
    ],
    ids=lambda initializer: type(initializer).__name__,
)
def test_many_experts_are_drawn_as_each_alone(initializer):
    draw = each_alone(initializer)
    assert draw.takes_tensors
    many = draw_all(draw, (100, 3, 4), "float32")  # in a graph
    for number in (0, 1, 99):
        # The seed of an expert is that of all plus its number times a stride.
        config = initializer.get_config()
        config["seed"] = (config["seed"] + number * 2654435761) % 2**32
        alone = type(initializer).from_config(config)((3, 4), dtype="float32")
        np.testing.assert_array_equal(many[number], alone)
    few = draw_all(draw, (2, 3, 4), "float32")
    np.testing.assert_array_equal(few, many[:2])


def test_functions_without_a_seed_draw_expert_by_expert():
    numbers = []

    def initializer(shape, dtype=None):
        numbers.append(len(numbers))
        return tf.fill(shape, float(numbers[-1]))

    weight = draw_all(each_alone(initializer), (70, 1, 1), "float32")
    np.testing.assert_array_equal(weight[:, 0, 0], np.arange(70))
