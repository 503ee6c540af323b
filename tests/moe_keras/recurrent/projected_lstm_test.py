"""`ProjectedLSTM` as a Keras layer; its gradients: recurrence_test.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src import testing

from moe_keras.recurrent.projected_lstm import ProjectedLSTM

SEQUENCE = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
STATE = [
    np.random.default_rng(seed).normal(size=(3, 6)).astype("float32")
    for seed in (1, 2)
]
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0]], bool)


def built(layer, depth=4):
    if not layer.built:
        layer.build((None, None, depth))
    return layer


def same_weights(layer, other):
    built(layer).set_weights(built(other).get_weights())


def results_and_gradients(layer, mask, state):
    variables = [weight.value for weight in layer.trainable_weights]
    sequence = tf.constant(SEQUENCE)
    state = None if state is None else [tf.constant(x) for x in state]
    sources = [sequence, *(state or []), *variables]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        results = layer(sequence, initial_state=state, mask=mask)
        loss = sum(tf.reduce_sum(tf.sin(3.0 * x)) for x in results)
    return results, tape.gradient(loss, sources)


class EqualsKerasTest(testing.TestCase):
    def check(self, mask=None, state=None, **kwargs):
        kwargs.setdefault("return_sequences", True)
        theirs = keras.layers.LSTM(
            6,
            return_state=True,
            bias_initializer="normal",
            zero_output_for_mask=kwargs["return_sequences"],
            **kwargs,
        )
        ours = ProjectedLSTM(6, return_state=True, **kwargs)
        same_weights(ours, theirs)
        expected, expected_gradients = results_and_gradients(
            theirs, mask, state
        )
        actual, gradients = results_and_gradients(ours, mask, state)
        for one, other in zip(
            [*actual, *gradients],
            [*expected, *expected_gradients],
            strict=True,
        ):
            self.assertAllClose(one, other, atol=2e-5, rtol=2e-5)

    def test_plain(self):
        self.check()

    def test_initial_state(self):
        self.check(state=STATE)

    def test_mask(self):
        self.check(mask=MASK, state=STATE)

    def test_go_backwards(self):
        self.check(go_backwards=True, state=STATE)

    def test_mask_and_go_backwards(self):
        self.check(mask=MASK, state=STATE, go_backwards=True)

    def test_last_output_only(self):
        self.check(mask=MASK, return_sequences=False)

    def test_bidirectional(self):
        inputs = keras.Input((None, 4))
        masked = keras.layers.Masking()(inputs)
        models = []
        for layer in (
            keras.layers.LSTM(6, return_sequences=True),
            ProjectedLSTM(6, return_sequences=True),
        ):
            outputs = keras.layers.Bidirectional(layer)(masked)
            models.append(keras.Model(inputs, outputs))
        models[1].set_weights(models[0].get_weights())
        padded = SEQUENCE * MASK[:, :, None]
        self.assertAllClose(
            models[1](padded), models[0](padded), atol=1e-6, rtol=1e-5
        )

    def test_bidirectional_with_states(self):
        inputs = keras.Input((5, 4))
        wrapped = [
            keras.layers.Bidirectional(
                layer(6, return_sequences=True, return_state=True)
            )
            for layer in (keras.layers.LSTM, ProjectedLSTM)
        ]
        models = [keras.Model(inputs, wrap(inputs)) for wrap in wrapped]
        models[1].set_weights(models[0].get_weights())
        for use in (
            lambda number: models[number](SEQUENCE),
            lambda number: wrapped[number](SEQUENCE, mask=MASK),
        ):
            theirs, ours = use(0), use(1)
            self.assertEqual(len(ours), 5)  # outputs, h and c of both ways
            for one, other in zip(ours[1:], theirs[1:], strict=True):
                self.assertAllClose(one, other, atol=1e-6, rtol=1e-5)
        self.assertAllClose(models[1](SEQUENCE)[0], models[0](SEQUENCE)[0])

    def test_initial_weights_are_drawn_alike(self):
        layer = built(ProjectedLSTM(6))
        gram = layer.recurrent_kernel @ keras.ops.transpose(
            layer.recurrent_kernel
        )
        self.assertAllClose(gram, np.eye(6), atol=1e-5)
        # i, f, g, o: only the forget gate's bias begins at 1.
        self.assertAllClose(layer.bias, np.repeat([0.0, 1.0, 0.0, 0.0], 6))


class ProjectedLSTMTest(testing.TestCase):
    def test_layer(self):
        self.run_layer_test(
            ProjectedLSTM,
            init_kwargs={"units": 6, "projection_dim": 3},
            input_shape=(3, 5, 4),
            expected_output_shape=(3, 3),
            expected_num_trainable_weights=4,
            supports_masking=True,
        )
        self.run_layer_test(
            ProjectedLSTM,
            init_kwargs={
                "units": 6,
                "return_sequences": True,
                "go_backwards": True,
                "unit_forget_bias": False,
                "kernel_initializer": "zeros",
                "compiled": False,
            },
            input_shape=(3, 5, 4),
            expected_output_shape=(3, 5, 6),
            expected_num_trainable_weights=3,
            supports_masking=True,
        )

    def test_weights_have_the_sizes_of_the_projection(self):
        layer = built(ProjectedLSTM(6, projection_dim=3))
        shapes = {weight.name: weight.shape for weight in layer.weights}
        self.assertEqual(
            shapes,
            {
                "kernel": (4, 24),
                "recurrent_kernel": (3, 24),
                "bias": (24,),
                "projection_kernel": (6, 3),
            },
        )

    def test_steps_equal_the_sequence(self):
        layer = built(
            ProjectedLSTM(
                6, projection_dim=3, return_sequences=True, return_state=True
            )
        )
        outputs, h, c = layer(SEQUENCE)
        state = layer.initial_state(3)
        for step in range(5):
            output, state = layer.step(SEQUENCE[:, step], state)
            self.assertAllClose(output, outputs[:, step], atol=1e-6)
        self.assertAllClose(state[0], h, atol=1e-6)
        self.assertAllClose(state[1], c, atol=1e-6)

    def test_final_state_continues_a_sequence(self):
        layer = built(
            ProjectedLSTM(
                6, projection_dim=3, return_sequences=True, return_state=True
            )
        )
        outputs, *_ = layer(SEQUENCE)
        first, *state = layer(SEQUENCE[:, :2])
        second, *_ = layer(SEQUENCE[:, 2:], initial_state=state)
        self.assertAllClose(
            np.concatenate([first, second], axis=1), outputs, atol=1e-6
        )

    def test_backwards_over_right_padding_equals_no_padding(self):
        layer = built(ProjectedLSTM(6, return_state=True, go_backwards=True))
        padded = layer(SEQUENCE, mask=np.arange(5)[None] < [[3], [3], [3]])
        short = layer(SEQUENCE[:, :3])
        for one, other in zip(padded, short, strict=True):
            self.assertAllClose(one, other, atol=1e-6)

    def test_passes_its_mask_on(self):
        embedding = keras.layers.Embedding(9, 4, mask_zero=True)
        outputs = ProjectedLSTM(6, return_sequences=True)(
            embedding(np.array([[3, 5, 0]]))
        )
        self.assertAllEqual(outputs._keras_mask, [[True, True, False]])
        self.assertAllClose(outputs[0, 2], np.zeros(6))

    def test_nan_in_masked_steps_is_in_no_output_and_no_gradient(self):
        spoilt = np.where(MASK[:, :, None], SEQUENCE, np.nan)
        expected = np.where(MASK[:, :, None], SEQUENCE, 0.0)
        layer = built(ProjectedLSTM(6, projection_dim=3))
        variables = [weight.value for weight in layer.trainable_weights]

        def results(sequence):
            sequence = tf.constant(sequence, "float32")
            with tf.GradientTape() as tape:
                tape.watch(sequence)
                y = layer(sequence, mask=MASK)
            return [y, *tape.gradient(y, [sequence, *variables])]

        for one, other in zip(results(spoilt), results(expected), strict=True):
            self.assertAllEqual(one, other)

    def test_no_time_steps_give_the_initial_state(self):
        for backwards in (False, True):
            layer = built(
                ProjectedLSTM(
                    6,
                    projection_dim=3,
                    return_sequences=True,
                    return_state=True,
                    go_backwards=backwards,
                )
            )
            variables = [weight.value for weight in layer.trainable_weights]
            state = [tf.ones((3, 3)), 2 * tf.ones((3, 6))]

            def run(x, layer=layer, variables=variables, state=state):
                with tf.GradientTape() as tape:
                    y, h, c = layer(x, initial_state=state)
                    loss = sum(tf.reduce_sum(part) for part in (y, h, c))
                return y, h, c, tape.gradient(loss, variables)

            unknown = tf.function(
                run, input_signature=[tf.TensorSpec([None, None, 4])]
            )
            for call in (run, tf.function(run), unknown):
                y, h, c, gradients = call(tf.zeros((3, 0, 4)))
                self.assertEqual(y.shape, (3, 0, 3))
                self.assertAllEqual(h, state[0])
                self.assertAllEqual(c, state[1])
                for gradient in gradients:
                    self.assertAllEqual(gradient, np.zeros(gradient.shape))

    def test_bias_gradient_of_many_rows_is_summed_in_float32(self):
        # 20,000 equal rows: the gradient is 20,000 times that of one.
        x = np.ones((20_000, 1, 4), "float32")
        for policy in ("mixed_float16", "mixed_bfloat16"):
            layer = built(ProjectedLSTM(6, dtype=policy))
            gradients = []
            for rows in (x[:1], x):
                with tf.GradientTape() as tape:
                    y = tf.cast(layer(rows), "float32")
                gradients.append(tape.gradient(y, layer.bias.value))
            self.assertEqual(gradients[1].dtype, "float32")
            self.assertAllClose(gradients[1], 20_000 * gradients[0], rtol=1e-4)

    def test_static_shapes_compile_and_agree(self):
        layer = built(ProjectedLSTM(6, projection_dim=3))

        def loss_and_gradients(x, mask):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(x, mask=mask) ** 2)
            variables = [weight.value for weight in layer.trainable_weights]
            return loss, tape.gradient(loss, variables)

        arguments = tf.constant(SEQUENCE), tf.constant(MASK)
        static = tf.function(loss_and_gradients, autograph=False)
        dynamic = tf.function(
            loss_and_gradients,
            input_signature=[
                tf.TensorSpec([None, None, 4]),
                tf.TensorSpec([None, None], "bool"),
            ],
            autograph=False,
        )

        def is_compiled(function, *arguments):
            graph = function.get_concrete_function(*arguments).graph
            return "_XlaMustCompile" in str(graph.as_graph_def())

        self.assertEqual(is_compiled(static, *arguments), True)
        self.assertEqual(is_compiled(dynamic), False)
        for one, other in zip(
            tf.nest.flatten(static(*arguments)),
            tf.nest.flatten(dynamic(*arguments)),
            strict=True,
        ):
            self.assertAllClose(one, other, atol=1e-5, rtol=1e-5)

    def test_products_in_bfloat16_are_not_compiled(self):
        layer = ProjectedLSTM(5, dtype="mixed_bfloat16")
        run = tf.function(lambda x: layer(x), autograph=False)
        graph = run.get_concrete_function(tf.constant(SEQUENCE)).graph
        self.assertNotIn("_XlaMustCompile", str(graph.as_graph_def()))

    def test_half_precision_keeps_the_cell_state_in_float32(self):
        layer = built(
            ProjectedLSTM(
                6,
                projection_dim=3,
                return_sequences=True,
                return_state=True,
                dtype="mixed_bfloat16",
            )
        )
        full = ProjectedLSTM(6, projection_dim=3, return_sequences=True)
        same_weights(full, layer)
        outputs, h, c = layer(SEQUENCE)
        dtypes = [x.dtype.name for x in (outputs, h, c)]
        self.assertEqual(dtypes, ["bfloat16", "bfloat16", "float32"])
        self.assertAllClose(
            tf.cast(outputs, tf.float32), full(SEQUENCE), atol=0.03
        )
        output, _ = layer.step(SEQUENCE[:, 0], layer.initial_state(3))
        self.assertAllClose(
            tf.cast(output, tf.float32),
            tf.cast(outputs[:, 0], tf.float32),
            atol=0.01,
        )
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(SEQUENCE)[0], tf.float32))
        variables = [weight.value for weight in layer.trainable_weights]
        for gradient in tape.gradient(loss, variables):
            self.assertEqual(gradient.dtype, tf.float32)

    def test_export_runs_at_any_batch_and_length(self):
        layer = built(ProjectedLSTM(6, return_sequences=True))
        module = tf.Module()
        module.layer = layer
        module.serve = tf.function(
            layer,
            input_signature=[tf.TensorSpec([None, None, 4])],
            autograph=False,
        )
        path = self.get_temp_dir()
        tf.saved_model.save(module, path)
        loaded = tf.saved_model.load(path)
        self.assertAllClose(loaded.serve(SEQUENCE), layer(SEQUENCE), atol=1e-6)
        self.assertEqual(loaded.serve(SEQUENCE[:1, :2]).shape, (1, 2, 6))

    def test_trains_in_fit(self):
        model = keras.Sequential(
            [ProjectedLSTM(6, projection_dim=3), keras.layers.Dense(1)]
        )
        model.compile("adam", "mse")
        history = model.fit(SEQUENCE, np.ones((3, 1)), epochs=3, verbose=0)
        losses = history.history["loss"]
        self.assertLess(losses[-1], losses[0])

    def test_runs_within_a_graph_that_xla_compiles(self):
        layer = built(ProjectedLSTM(6))

        def gradient(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(layer(x) ** 2)
            return tape.gradient(loss, x)

        x = tf.constant(SEQUENCE)
        compiled = tf.function(gradient, jit_compile=True, autograph=False)
        self.assertAllClose(compiled(x), gradient(x), atol=1e-6)

    def test_sizes_below_one_are_refused(self):
        with pytest.raises(ValueError, match="`units`"):
            ProjectedLSTM(0)
        with pytest.raises(ValueError, match="`projection_dim`"):
            ProjectedLSTM(6, projection_dim=0)
