"""The factored Adam against the formula of appendix D and Keras' Adam."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import moe_keras
from moe_keras import FactoredAdam
from moe_keras.parallel import MeshLayout
from moe_keras.placement.shards import whole_variables


def test_weight_decay_leaves_the_thresholds_of_gates_alone():
    gate = moe_keras.BatchwiseGate(3, k=2)
    gate.build((None, 4))
    before = [weight.numpy() for weight in gate.trainable_variables]
    optimizer = FactoredAdam(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])  # adds to them
    zeros = [tf.zeros(weight.shape) for weight in gate.trainable_variables]
    optimizer.apply(zeros, gate.trainable_variables)
    kernel, thresholds = gate.trainable_variables
    np.testing.assert_allclose(kernel, 0.95 * before[0], rtol=1e-6)  # 1 - .05
    np.testing.assert_array_equal(thresholds, before[1])


def _gradients(shape, steps, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype("float32") for _ in range(steps)]


def _train(optimizer, start, gradients):
    variable = keras.Variable(start)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    return variable.numpy()


def _by_the_formula(start, gradients, rate, beta_2, epsilon=1e-7):
    """Appendix D for one matrix, entry by entry, in float64."""
    weight = start.astype("float64")
    rows, columns = weight.shape
    row, column = np.zeros(rows), np.zeros(columns)
    for step, gradient in enumerate(gradients, 1):
        for i in range(rows):
            mean = sum(gradient[i, j] ** 2 for j in range(columns)) / columns
            row[i] = beta_2 * row[i] + (1 - beta_2) * mean
        for j in range(columns):
            mean = sum(gradient[i, j] ** 2 for i in range(rows)) / rows
            column[j] = beta_2 * column[j] + (1 - beta_2) * mean
        unbiased = rate * (1 - beta_2**step) ** 0.5
        for i in range(rows):
            for j in range(columns):
                second = row[i] * column[j] / (sum(row) / rows)
                weight[i, j] -= (
                    unbiased * gradient[i, j] / (second**0.5 + epsilon)
                )
    return weight


def test_each_expert_follows_the_formula_by_itself():
    start, *gradients = _gradients((3, 4, 5), steps=11)
    gradients = [g * [[[1.0]], [[100.0]], [[1e-3]]] for g in gradients]
    ours = _train(FactoredAdam(0.1, beta_2=0.9), start, gradients)
    for expert in range(3):
        theirs = _by_the_formula(
            start[expert], [g[expert] for g in gradients], 0.1, 0.9
        )
        np.testing.assert_allclose(ours[expert], theirs, rtol=1e-4, atol=1e-5)


def test_is_adam_without_momentum_where_squares_are_an_outer_product():
    random = np.random.default_rng(2)
    outer = random.normal(size=(2, 4, 1)) * random.normal(size=(2, 1, 3))
    start = random.normal(size=(2, 4, 3)).astype("float32")
    gradients = [
        (scale * outer).astype("float32") for scale in random.normal(size=9)
    ]
    ours = _train(FactoredAdam(0.1, beta_2=0.98), start, gradients)
    adam = keras.optimizers.Adam(0.1, beta_1=0.0, beta_2=0.98)
    theirs = _train(adam, start, gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4), (5,), ()], ids=str)
def test_weights_that_are_no_stack_of_matrices_get_plain_adam(shape):
    start, *gradients = _gradients(shape, steps=8)
    start = np.asarray(start, "float32")
    ours = _train(FactoredAdam(0.1, beta_2=0.9), start, gradients)
    adam = keras.optimizers.Adam(0.1, beta_2=0.9)
    theirs = _train(adam, start, gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_float64_weights_follow_the_formula_in_float64():
    # 0.999 is no float32: beta_2 would be wrong by 1e-8, the weights by 2e-7.
    start, *gradients = (x.astype("float64") for x in _gradients((1, 3, 4), 6))
    variable = keras.Variable(start, dtype="float64")
    optimizer = FactoredAdam(0.5)  # which is a float32
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    theirs = _by_the_formula(start[0], [g[0] for g in gradients], 0.5, 0.999)
    np.testing.assert_allclose(variable.numpy()[0], theirs, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4)], ids=str)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_in_half_precision_move_as_those_in_float32(shape, dtype):
    start, *gradients = _gradients(shape, steps=8)
    variable = keras.Variable(np.zeros(shape), dtype=dtype)
    optimizer = FactoredAdam(0.1, epsilon=1e-5)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, dtype)], [variable])
    theirs = _train(FactoredAdam(0.1, epsilon=1e-5), 0 * start, gradients)
    # Each of 8 steps of about 0.1 is rounded to 1/256 of the weight.
    np.testing.assert_allclose(
        variable.numpy().astype("float32"), theirs, atol=0.02
    )


def test_experts_without_a_token_stay_and_nothing_is_nan():
    start, gradient = _gradients((2, 3, 4), steps=2)
    gradient[1] = 0.0
    ours = _train(FactoredAdam(0.1), start, [gradient, gradient])
    assert np.all(ours[0] != start[0]) and np.all(np.isfinite(ours[0]))
    np.testing.assert_array_equal(ours[1], start[1])


def test_gradients_as_small_as_1e_minus_12_still_move_by_the_rate():
    # row and column are 1e-24 each: their product, 1e-48, is no float32.
    start = np.zeros((1, 2, 3), "float32")
    optimizer = FactoredAdam(0.1, epsilon=1e-20)
    ours = _train(optimizer, start, [np.full((1, 2, 3), 1e-12, "float32")])
    np.testing.assert_allclose(ours, -0.1, rtol=1e-5)


def test_memory_of_a_layer_is_that_of_rows_and_columns():
    layer = moe_keras.SparseMoE(5, k=2, hidden_dim=7)
    layer.build((None, 3))
    optimizer = FactoredAdam()
    optimizer.build(layer.trainable_variables)
    held = sum(int(np.prod(v.shape)) for v in optimizer.variables)
    # Kernels (5, 3, 7) and (5, 7, 3): 2 * 5 * (3 + 7). Biases (5, 7) and
    # (5, 3), gate and noise kernels (3, 5) each: both moments of 80 numbers.
    # Rate and steps: 2.
    assert held == 100 + 2 * 80 + 2


def test_averages_are_on_the_device_of_their_variable():
    with tf.device("CPU:1"):
        kernel = keras.Variable(np.ones((2, 3, 4), "float32"))
        bias = keras.Variable(np.ones(3, "float32"))
    optimizer = FactoredAdam()
    optimizer.build([kernel, bias])
    devices = [v.value.device[-5:] for v in optimizer.variables[2:]]
    assert devices == ["CPU:1"] * 4


def test_replicas_update_as_one_device_does(two_replicas):
    start, gradient = _gradients((2, 3, 4), steps=2)
    with two_replicas.scope():
        variable = keras.Variable(start)
        optimizer = FactoredAdam(0.1)
        optimizer.build([variable])

    @tf.function(autograph=False)
    def step():
        two_replicas.run(lambda: optimizer.apply([0.5 * gradient], [variable]))

    step()
    alone = _train(FactoredAdam(0.1), start, [gradient])
    np.testing.assert_allclose(variable.numpy(), alone, rtol=1e-5)


def _layer_under(rules):
    with MeshLayout("all:2", rules).scope():
        layer = moe_keras.SparseMoE(4, k=2, hidden_dim=6, name="moe")
        layer.build((None, 3))
    return layer


def test_split_experts_update_as_whole_ones_and_share_checkpoints(tmp_path):
    start, gradient = _gradients((4, 3, 6), steps=2)
    split, whole = (
        _layer_under("experts:all"),
        moe_keras.SparseMoE(4, k=2, hidden_dim=6, name="moe"),
    )
    whole.build((None, 3))
    states = []
    for layer in (whole, split):
        kernel = layer.experts.kernel_in
        kernel.assign(start)
        shards = getattr(kernel, "shards", (kernel,))
        optimizer = FactoredAdam(0.1)
        optimizer.build(list(shards))
        gradients = np.split(gradient, len(shards))
        optimizer.apply([tf.constant(g) for g in gradients], list(shards))
        states.append(whole_variables(optimizer.variables))
    np.testing.assert_allclose(
        split.experts.kernel_in.numpy(), whole.experts.kernel_in.numpy(),
        rtol=1e-6,
    )  # fmt: skip
    # Written by the whole, read by the parts: their rows come back.
    rows = optimizer.variables[2].numpy().copy()
    path = tf.train.Checkpoint(o=states[0]).write(str(tmp_path / "o"))
    optimizer.variables[2].assign(0 * rows)
    tf.train.Checkpoint(o=states[1]).read(path).assert_consumed()
    np.testing.assert_allclose(optimizer.variables[2].numpy(), rows, rtol=1e-6)


def test_split_hidden_layers_are_refused():
    layer = _layer_under("hidden:all")
    with pytest.raises(ValueError, match="experts whose kernels are whole"):
        FactoredAdam().build(layer.trainable_variables)


def test_comes_back_from_its_config_and_trains_in_fit():
    optimizer = FactoredAdam(0.02, beta_1=0.8, beta_2=0.7, epsilon=1e-3)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert again.get_config() == optimizer.get_config()
    layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8, seed=0)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(again, "mse")
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    history = model.fit(x, x, epochs=6, batch_size=64, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]


def _train_by_slices(optimizer, start, gradients):
    """As `_train`, of the experts alone whose gradient is not zero."""
    variable = keras.Variable(start)

    @tf.function(autograph=False)
    def step(values, indices):
        slices = tf.IndexedSlices(values, indices, start.shape)
        optimizer.apply([slices], [variable])

    optimizer.build([variable])
    for gradient in gradients:
        (busy,) = np.nonzero(np.any(gradient != 0, axis=(1, 2)))
        step.get_concrete_function(
            tf.TensorSpec([None, *start.shape[1:]]),
            tf.TensorSpec([None], "int64"),
        )(tf.constant(gradient[busy]), tf.constant(busy, "int64"))
    return variable.numpy()


def _with_pauses(shape, steps):
    """Gradients in which expert 0 is always busy, 3 never, others at times."""
    start, *gradients = _gradients(shape, steps + 1)
    idle = np.random.default_rng(5).random((steps, shape[0])) < 0.6
    idle[:, 0], idle[:, 3] = False, True
    for gradient, is_idle in zip(gradients, idle, strict=True):
        gradient[is_idle] = 0.0
    return start, gradients


@pytest.mark.parametrize("decay_by", ["steps", "uses"])
def test_lazy_updates_are_those_of_whole_gradients(decay_by):
    start, gradients = _with_pauses((6, 3, 4), steps=20)
    options = {"beta_2": 0.9, "decay_by": decay_by}
    whole = _train(FactoredAdam(0.1, **options), start, gradients)
    lazy = FactoredAdam(0.1, lazy=True, **options)
    ours = _train_by_slices(lazy, start, gradients)
    np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours[3], start[3])  # not moved at all


def test_lazy_and_whole_gradients_may_take_turns():
    start, gradients = _with_pauses((6, 3, 4), steps=10)
    whole = _train(FactoredAdam(0.1, beta_2=0.9), start, gradients)
    variable = keras.Variable(start)
    optimizer = FactoredAdam(0.1, beta_2=0.9, lazy=True)
    for number, gradient in enumerate(gradients):
        (busy,) = np.nonzero(np.any(gradient != 0, axis=(1, 2)))
        slices = tf.IndexedSlices(gradient[busy], busy, start.shape)
        is_whole = number % 3 == 0
        optimizer.apply(
            [tf.constant(gradient) if is_whole else slices], [variable]
        )
    np.testing.assert_allclose(variable.numpy(), whole, rtol=1e-5, atol=1e-6)


def test_decay_by_uses_forgets_no_expert_in_a_pause():
    # Expert 1 rests for 50 steps between its uses: it moves as if they were
    # not there, by the formula for its own gradients alone.
    start, *used = _gradients((2, 3, 4), steps=5)
    gradients = []
    for gradient in used:
        gradients.append(gradient)
        pause = np.zeros_like(gradient)
        pause[0] = gradient[0]
        gradients += 50 * [pause]
    ours = _train(
        FactoredAdam(0.1, beta_2=0.9, decay_by="uses"), start, gradients
    )
    theirs = _by_the_formula(start[1], [g[1] for g in used], 0.1, 0.9)
    np.testing.assert_allclose(ours[1], theirs, rtol=1e-4, atol=1e-5)
    # By steps 0.9^50 of an average is left, 0.005, and 0.1 of the gradient's
    # own square is all there is: a step is 1 / sqrt(0.1) = 3.2 times as long.
    by_steps = _train(FactoredAdam(0.1, beta_2=0.9), start, gradients)
    longer = np.abs(by_steps[1] - start[1]).mean()
    assert longer > 2 * np.abs(ours[1] - start[1]).mean()


def test_many_experts_are_updated_a_few_at_a_time(monkeypatch):
    start, gradients = _with_pauses((7, 3, 4), steps=6)
    whole = _train(FactoredAdam(0.1), start, gradients)
    monkeypatch.setattr(moe_keras.optimizers, "_FEW", 24)  # two experts
    for ours in (
        _train(FactoredAdam(0.1), start, gradients),
        _train_by_slices(FactoredAdam(0.1, lazy=True), start, gradients),
    ):
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-6)


def test_compiled_updates_are_those_of_slices():
    start, gradients = _with_pauses((4, 3, 4), steps=6)
    options = {"beta_2": 0.9, "decay_by": "uses"}
    variable = keras.Variable(start)
    optimizer = FactoredAdam(0.1, **options)
    optimizer.build([variable])

    @tf.function(jit_compile=True, autograph=False)
    def step(gradient):
        optimizer.update_step(gradient, variable.value, 0.1)
        optimizer.iterations.assign_add(1)

    for gradient in gradients:
        step(tf.constant(gradient))
    theirs = _train(FactoredAdam(0.1, **options), start, gradients)
    np.testing.assert_allclose(variable.numpy(), theirs, rtol=1e-4, atol=1e-5)


def test_a_factor_is_that_of_the_gradients():
    start, *gradients = _gradients((3, 3, 4), steps=4)
    theirs = _train(FactoredAdam(0.1), start, [0.25 * g for g in gradients])
    variable = keras.Variable(start)
    optimizer = FactoredAdam(0.1)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable], factor=0.25)
    np.testing.assert_allclose(variable.numpy(), theirs, rtol=1e-5)


def test_an_unknown_decay_is_refused():
    with pytest.raises(ValueError, match="`decay_by` must be one of steps"):
        FactoredAdam(decay_by="tokens")


@pytest.mark.parametrize("name", ["beta_1", "beta_2"])
def test_decays_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 0"):
        FactoredAdam(**{name: 1.0})
