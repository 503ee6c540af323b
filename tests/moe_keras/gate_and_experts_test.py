"""What gate and experts of a layer may be, and errors that name the rest."""

import keras
import tensorflow as tf

from moe_keras import FeedForwardExperts, NoisyTopKGate, SparseMoE

D, H, E = 4, 6, 5  # depth, hidden size, number of experts


class PartsTest(tf.test.TestCase):
    def test_gate_with_another_number_of_experts(self):
        with self.assertRaisesRegex(
            ValueError, "`gate`.*gate.num_experts=3, num_experts=5"
        ):
            SparseMoE(5, hidden_dim=H, gate=NoisyTopKGate(3, k=2))

    def test_k_beside_a_gate(self):
        with self.assertRaisesRegex(ValueError, "`k` is for the default gate"):
            SparseMoE(3, k=2, hidden_dim=H, gate=NoisyTopKGate(3, k=2))

    def test_seed_beside_a_gate(self):
        with self.assertRaisesRegex(ValueError, "`seed` is for the default"):
            SparseMoE(3, seed=1, hidden_dim=H, gate=NoisyTopKGate(3, k=2))

    def test_layer_that_is_no_gate(self):
        for layer in (keras.layers.Dense(3), "top_k"):
            with self.assertRaisesRegex(ValueError, "`gate` must.*num_experts"):
                SparseMoE(3, hidden_dim=H, gate=layer)

    def test_neither_hidden_dim_nor_expert(self):
        with self.assertRaisesRegex(ValueError, "`hidden_dim` must be given"):
            SparseMoE(5)

    def test_both_hidden_dim_and_expert(self):
        with self.assertRaisesRegex(ValueError, "leave it out.*hidden_dim=6"):
            SparseMoE(E, 2, hidden_dim=H, expert=FeedForwardExperts(E, D))

    def test_both_activation_and_expert(self):
        with self.assertRaisesRegex(ValueError, "`activation` is for the def"):
            SparseMoE(E, 2, activation="gelu", expert=FeedForwardExperts(E, D))

    def test_one_keras_layer_is_not_all_experts(self):
        with self.assertRaisesRegex(ValueError, "`lambda: Dense"):
            SparseMoE(E, 2, expert=keras.layers.Dense(D))

    def test_expert_is_neither_a_layer_nor_a_function(self):
        with self.assertRaisesRegex(ValueError, "`expert` must .*expert=3"):
            SparseMoE(E, expert=3)

    def test_function_that_makes_no_layer(self):
        with self.assertRaisesRegex(ValueError, r"layer at each.*\(\)=None"):
            SparseMoE(E, expert=lambda: None)

    def test_one_layer_is_not_several_experts(self):
        one, other = keras.layers.Dense(D), keras.layers.Dense(D)
        turns = iter([one, other, one])
        for make in (lambda: one, lambda: next(turns)):
            with self.assertRaisesRegex(ValueError, "new layer at each.*dense"):
                SparseMoE(3, expert=make)
