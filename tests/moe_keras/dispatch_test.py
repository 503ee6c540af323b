"""Dispatch and combine: one body of tests for segments and for batches."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from moe_keras.dispatch import combine, dispatch, plan_dispatch

E, N, K, D = 5, 7, 3, 4
# Room for all in the batches: nothing overflows.
LAYOUTS = (("segments", None), ("busiest", "busiest"), ("batches", N))


def random_choices(seed=0, num_tokens=N):
    rng = np.random.default_rng(seed)
    expert_NK = np.stack(
        [rng.permutation(E)[:K] for _ in range(num_tokens)]
    ).astype("int32")
    gate_NK = rng.uniform(0.1, 1, (num_tokens, K))
    return expert_NK, gate_NK, rng.normal(size=(num_tokens, D))


def experts_of_slots(plan):
    """The expert that owns each slot, and -1 behind the last of segments."""
    if plan.capacity is not None:
        return np.repeat(np.arange(E), int(plan.capacity))
    owners = np.repeat(np.arange(E), plan.counts)
    rest = len(plan.token_index) - len(owners)
    return np.concatenate([owners, np.full(rest, -1)])


class DispatchTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*LAYOUTS)
    def test_every_expert_gets_its_tokens_and_no_others(self, capacity):
        expert_NK, _, x_ND = random_choices()
        plan = plan_dispatch(expert_NK, E, capacity=capacity)
        slots = dispatch(tf.constant(x_ND), plan).numpy()
        owners = experts_of_slots(plan)
        for e in range(E):
            rows = slots[owners == e]
            filled = rows[np.any(rows != 0, axis=1)]
            expected = x_ND[np.any(expert_NK == e, axis=1)]
            # Which slot a token takes is free; sort both by content.
            self.assertAllEqual(
                np.sort(filled, axis=0), np.sort(expected, axis=0)
            )

    @parameterized.named_parameters(*LAYOUTS)
    def test_tagged_experts_give_each_token_its_own_rows(self, capacity):
        # Expert e multiplies by 10^e: y = x * sum_j gate_j 10^(e_j).
        expert_NK, gate_NK, x_ND = random_choices()
        plan = plan_dispatch(expert_NK, E, capacity=capacity)
        slots = dispatch(tf.constant(x_ND), plan)
        slots *= (10.0 ** experts_of_slots(plan))[:, None]
        y_ND = combine(slots, plan, tf.constant(gate_NK))
        factor_N = np.sum(gate_NK * 10.0**expert_NK, axis=1)
        self.assertAllClose(y_ND, x_ND * factor_N[:, None])

    @parameterized.named_parameters(*LAYOUTS)
    def test_permuting_the_batch_permutes_the_result(self, capacity):
        expert_NK, gate_NK, x_ND = random_choices()

        def run(order):
            plan = plan_dispatch(expert_NK[order], E, capacity=capacity)
            slots = dispatch(tf.constant(x_ND[order]), plan)
            return combine(slots, plan, tf.constant(gate_NK[order])).numpy()

        order = np.random.default_rng(1).permutation(N)
        self.assertAllClose(run(order), run(np.arange(N))[order])

    @parameterized.named_parameters(*LAYOUTS)
    def test_each_is_the_adjoint_of_the_other(self, capacity):
        # <dispatch(x), s> = <x, combine(s)> for any x and s.
        expert_NK, _, x_ND = random_choices()
        expert_NK[2, 1] = -1
        plan = plan_dispatch(expert_NK, E, capacity=capacity)
        slots = dispatch(tf.constant(x_ND), plan)
        rng = np.random.default_rng(2)
        s = rng.normal(size=slots.shape)
        if capacity is None:
            s[experts_of_slots(plan) < 0] = 0  # nobody's rows are zeros
            slots *= (experts_of_slots(plan) >= 0)[:, None]
        there = np.sum(slots * s)
        back = np.sum(x_ND * combine(tf.constant(s), plan))
        self.assertAllClose(there, back)

    @parameterized.named_parameters(*LAYOUTS)
    def test_gradients_equal_finite_differences(self, capacity):
        expert_NK, gate_NK, x_ND = random_choices()
        expert_NK[2, 1] = -1
        gate_NK[2, 1] = 0
        plan = plan_dispatch(expert_NK, E, capacity=capacity)
        weight = 1.0 + np.maximum(experts_of_slots(plan), 0)[:, None]
        weight[experts_of_slots(plan) < 0] = 0

        def run(x_ND, gate_NK):
            slots = tf.sin(dispatch(x_ND, plan)) * weight
            return tf.reduce_sum(tf.cos(combine(slots, plan, gate_NK)))

        theory, numeric = tf.test.compute_gradient(
            run, [tf.constant(x_ND), tf.constant(gate_NK)], delta=1e-5
        )
        self.assertAllClose(theory[0], numeric[0], 1e-6, 1e-6)
        chosen = expert_NK.ravel() >= 0  # -1 has no slot and no gradient
        self.assertAllClose(
            theory[1][:, chosen], numeric[1][:, chosen], 1e-6, 1e-6
        )

    @parameterized.named_parameters(*LAYOUTS)
    def test_backward_has_gathers_and_no_scatter(self, capacity):
        expert_NK, gate_NK, x_ND = random_choices()

        @tf.function(autograph=False)
        def gradients(x_ND, gate_NK):
            plan = plan_dispatch(expert_NK, E, capacity=capacity)
            with tf.GradientTape() as tape:
                tape.watch([x_ND, gate_NK])
                y = combine(dispatch(x_ND, plan), plan, gate_NK)
            return tape.gradient(y, [x_ND, gate_NK])

        graph = gradients.get_concrete_function(
            tf.constant(x_ND), tf.constant(gate_NK)
        ).graph
        kinds = {
            operation.type
            for operation in graph.get_operations()
            for output in operation.outputs
            if output.dtype.is_floating  # rows, and not their numbers
        }
        self.assertIn("GatherV2", kinds)
        self.assertFalse([kind for kind in kinds if "Scatter" in kind])

    @parameterized.named_parameters(*LAYOUTS)
    def test_empty_batch(self, capacity):
        expert_NK = np.zeros((0, K), "int32")
        plan = plan_dispatch(expert_NK, E, capacity=capacity)
        slots = dispatch(tf.zeros((0, D)), plan)
        y_ND = combine(slots, plan, tf.zeros((0, K)))
        self.assertEqual(y_ND.shape, (0, D))
        self.assertAllEqual(plan.counts, [0] * E)


class CompiledPlanTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, 6)
    def test_xla_makes_the_same_plan_of_choices_of_top_k(self, capacity):
        logits_NE = np.random.default_rng(0).normal(size=(N, E))
        mask_N = np.arange(N) != 3

        def plan(logits_NE):
            expert_NK = tf.math.top_k(logits_NE, K).indices
            return plan_dispatch(expert_NK, E, mask_N, capacity)

        expected = plan(tf.constant(logits_NE))
        compiled = tf.function(plan, jit_compile=True)(tf.constant(logits_NE))
        self.assertAllEqual(compiled.counts, expected.counts)
        self.assertAllEqual(compiled.token_index, expected.token_index)
        self.assertAllEqual(compiled.slot_index, expected.slot_index)


class UnknownNumberOfChoicesTest(tf.test.TestCase, parameterized.TestCase):
    """In a graph K may be known only when a batch is there."""

    @parameterized.named_parameters(*LAYOUTS)
    def test_equals_a_known_number(self, capacity):
        def run(expert_NK, gate_NK, x_ND):
            plan = plan_dispatch(expert_NK, E, capacity=capacity)
            with tf.GradientTape() as tape:
                tape.watch([x_ND, gate_NK])
                slots = tf.sin(dispatch(x_ND, plan))
                y_ND = tf.cos(combine(slots, plan, gate_NK))
            return y_ND, *tape.gradient(y_ND, [x_ND, gate_NK])

        unknown = tf.function(
            run,
            input_signature=[
                tf.TensorSpec((None, None), "int32"),
                tf.TensorSpec((None, None), "float64"),
                tf.TensorSpec((None, D), "float64"),
            ],
            autograph=False,
        )
        for num_tokens in (N, 2, 0):
            expert_NK, gate_NK, x_ND = (
                x[:num_tokens] for x in random_choices()
            )
            empty = np.arange(expert_NK.size).reshape(-1, K) % 4 == 1
            expert_NK[empty], gate_NK[empty] = -1, 0
            batch = [tf.constant(x) for x in (expert_NK, gate_NK, x_ND)]
            y, d_x, d_gate = unknown(*batch)
            expected, expected_d_x, expected_d_gate = run(*batch)
            self.assertAllClose(y, expected)
            self.assertAllClose(d_x, expected_d_x)
            self.assertAllClose(d_gate[~empty], expected_d_gate[~empty])

    def test_segments_have_no_slots_for_empty_places(self):
        @tf.function(
            input_signature=[tf.TensorSpec((None, None), "int32")],
            autograph=False,
        )
        def token_index(expert_NK):
            return plan_dispatch(expert_NK, 3).token_index

        # Token 0 has three experts, the others share one between them.
        self.assertAllEqual(
            token_index([[2, 0, 1], [-1, -1, -1], [1, -1, -1]]), [0, 2, 0, 0]
        )
        # One slot at least, which belongs to nobody.
        self.assertEqual(token_index([[-1], [-1]]).shape, (1,))

    def test_nobody_has_an_expert(self):
        @tf.function(
            input_signature=[tf.TensorSpec((None, None), "int32")],
            autograph=False,
        )
        def run(expert_NK):
            plan = plan_dispatch(expert_NK, E)
            gate_NK = tf.ones(tf.shape(expert_NK))
            return combine(dispatch(tf.ones((2, D)), plan), plan, gate_NK)

        self.assertAllEqual(run([[-1, -1], [-1, -1]]), np.zeros((2, D)))


class MaskTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*LAYOUTS)
    def test_masked_tokens_take_no_slot_and_give_zeros(self, capacity):
        expert_NK, gate_NK, x_ND = random_choices()
        mask_N = np.arange(N) % 3 != 0
        x_ND[~mask_N] = np.nan
        plan = plan_dispatch(expert_NK, E, mask=mask_N, capacity=capacity)
        slots = dispatch(tf.constant(x_ND), plan)
        slots = tf.where((experts_of_slots(plan) >= 0)[:, None], slots, 0.0)
        self.assertAllEqual(tf.reduce_all(tf.math.is_finite(slots)), True)
        gate_NK[~mask_N] = 0
        y_ND = combine(slots, plan, tf.constant(gate_NK)).numpy()
        self.assertAllEqual(y_ND[~mask_N], np.zeros((3, D)))
        self.assertEqual(int(np.sum(plan.load)), K * int(mask_N.sum()))

    @parameterized.named_parameters(*LAYOUTS)
    def test_all_tokens_masked(self, capacity):
        expert_NK, _, x_ND = random_choices()
        plan = plan_dispatch(
            expert_NK, E, mask=np.zeros(N, bool), capacity=capacity
        )
        slots = dispatch(tf.constant(x_ND), plan)
        slots = tf.where((experts_of_slots(plan) >= 0)[:, None], slots, 0.0)
        y_ND = combine(slots, plan, tf.zeros((N, K), tf.float64))
        self.assertAllEqual(y_ND, np.zeros((N, D)))


class CapacityTest(tf.test.TestCase):
    def test_every_slot_is_used_before_any_token_is_dropped(self):
        # 10 tokens to one expert with 7 slots: 7 kept, exactly 3 dropped.
        plan = plan_dispatch(np.full((10, 1), 2), E, capacity=7)
        y = combine(dispatch(tf.ones((10, 1)), plan), plan, tf.ones((10, 1)))
        self.assertAllEqual(y[:, 0], [1.0] * 7 + [0.0] * 3)
        self.assertEqual(int(np.sum(plan.load - plan.counts)), 3)

    def test_first_choices_come_before_second_ones(self):
        # Token 0 wants expert 1 second, token 1 wants it first; one slot.
        plan = plan_dispatch([[0, 1], [1, 2]], 3, capacity=1)
        self.assertAllEqual(plan.has_slot, [[True, True], [False, True]])

    def test_dropped_choices_have_no_gradient(self):
        plan = plan_dispatch(np.zeros((3, 1), "int32"), 1, capacity=2)
        x, gate = tf.ones((3, D)), tf.ones((3, 1))
        with tf.GradientTape() as tape:
            tape.watch([x, gate])
            y = combine(dispatch(x, plan), plan, gate)
        d_x, d_gate = tape.gradient(y, [x, gate])
        self.assertAllEqual(d_x[:, 0], [1.0, 1.0, 0.0])
        self.assertAllEqual(d_gate[:, 0], [D, D, 0.0])

    def test_positions_are_exact_where_a_half_float_would_stop_counting(self):
        # A cumulative sum of bfloat16 ones stops at 256.
        plan = plan_dispatch(np.zeros((600, 1), "int32"), 1, capacity=600)
        self.assertAllEqual(plan.token_index, np.arange(600))
        for index in (plan.token_index, plan.slot_index, plan.counts):
            self.assertEqual(index.dtype, tf.int32)
