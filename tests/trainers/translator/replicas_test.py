"""Training on replicas equals training on one device.

Without noise and dropout, which replicas draw for themselves. 20 steps in
float32; losses, norms and weights may differ by 1e-5.
"""

import functools

import keras
import numpy as np
import pytest
import small_workers
import tensorflow as tf

from moe_keras import (
    BatchwiseGate,
    BiasBalancedGate,
    ExpertChoiceGate,
    FeedForwardExperts,
    HierarchicalGate,
    NoisyTopKGate,
    SparseMoE,
)
from moe_keras.parallel import MeshLayout
from moe_keras.parallel.processes.workers import Workers
from moe_keras.parallel.replicas.placement import ReplicaPlacement
from moe_keras.placement.replicas import spread_random_states
from trainers.engine.averaging import MovingAverage
from trainers.engine.optimizer import FusedAdam
from trainers.engine.train_step import TrainStep

TOLERANCE = 1e-5
# Rows of the batches: some leave replicas one row more or less, or none.
SIZES = (8, 5, 1, 3)

GATES = {
    "flat": lambda: NoisyTopKGate(4, k=2, name="gate"),
    "hierarchical": lambda: HierarchicalGate(2, 2, k=(2, 1), name="gate"),
    "bias": lambda: BiasBalancedGate(4, k=2, name="gate"),
    "batchwise": lambda: BatchwiseGate(4, k=2, name="gate"),
    "expert_choice": lambda: ExpertChoiceGate(4, causal=False, name="gate"),
}


def masked_model(gate, capacity_factor):
    """Tokens of zeros are padding."""
    keras.utils.set_random_seed(1)
    moe = SparseMoE(
        4,
        gate=GATES[gate](),
        expert=FeedForwardExperts(4, hidden_dim=5, name="experts"),
        capacity_factor=capacity_factor,
        name="moe",
    )
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Masking(name="masking"),
            keras.layers.Dense(6, activation="tanh", name="dense"),
            moe,
            keras.layers.Dense(1, name="out"),
        ],
        name="masked",
    )
    for weight in moe.gate.trainable_variables:
        if weight.name == "gate_kernel":
            draw = tf.random.stateless_normal(weight.shape, [1, 2])
            weight.assign(draw)
    return model


def examples(step):
    """A batch `(B, 4, 3)`, each row with its own number of real tokens."""
    size = SIZES[step % len(SIZES)]
    random = np.random.default_rng(step)
    tokens = random.normal(size=(size, 4, 3)).astype("float32")
    lengths = random.integers(1, 5, size=size)
    return tf.constant(tokens * (np.arange(4) < lengths[:, None])[:, :, None])


def squared_error(model, tokens):
    is_real = tf.cast(tf.reduce_any(tokens != 0.0, axis=-1), tf.float32)
    outputs = tf.cast(model(tokens, training=True)[..., 0], tf.float32)
    error = outputs - tf.reduce_sum(tokens, -1)
    return tf.reduce_sum(is_real * error**2), tf.reduce_sum(is_real)


def trained(workers, gate, capacity_factor=None, accumulate_steps=1):
    """Figures of 20 steps, and all that is left in the end."""
    with workers.scope():
        model = masked_model(gate, capacity_factor)
        optimizer = FusedAdam(0.01)
        optimizer.build(model.trainable_variables)
        average = MovingAverage(
            [v.value for v in model.trainable_variables], 0.9, every=1
        )
    step = TrainStep(model, squared_error, optimizer, 0.5, accumulate_steps)
    batches = map(examples, range(100))
    figures = []
    for _ in range(20):
        figures.append(step(batches)[0])
        average.update()
    assert all(figure.is_finite for figure in figures)
    return np.array([figure[:3] for figure in figures]), *left(model, average)


@functools.cache
def trained_alone(policy, *case):
    """`trained` on one device, once for all that are compared with it."""
    assert keras.config.dtype_policy().name == policy
    return trained(Workers(), *case)


def left(model, average):
    def weights():
        moe = model.get_layer("moe")
        names = ("kernel_in", "bias_in", "kernel_out", "bias_out")
        others = [
            weight.numpy()
            for weight in model.trainable_variables
            if "experts" not in weight.path
        ]
        return others + [getattr(moe.experts, name).numpy() for name in names]

    statistics = model.get_layer("moe").routing_statistics()
    counts = [statistics.load, statistics.tokens, statistics.overflow]
    with average.swapped_in():
        averages = weights()
    return weights(), averages, counts


@pytest.mark.parametrize(
    "number, gate, capacity_factor, accumulate_steps, has_parts",
    [
        (2, "hierarchical", 0.75, 2, True),
        pytest.param(2, "bias", None, 2, False, marks=pytest.mark.slow),
        *(
            pytest.param(number, gate, None, 1, True, marks=pytest.mark.slow)
            for number in (2, 4)
            for gate in ("batchwise", "expert_choice")
        ),
        *(
            pytest.param(
                number, gate, capacity, 1, has_parts, marks=pytest.mark.slow
            )
            for number in (2, 4)
            for gate in ("flat", "hierarchical")
            for capacity in (None, 0.75)
            for has_parts in (False, True)
        ),
    ],
)
@pytest.mark.slow
def test_replicas_equal_one_device(
    number,
    gate,
    capacity_factor,
    accumulate_steps,
    has_parts,
    two_replicas,
    four_replicas,
    monkeypatch,
):
    monkeypatch.setattr(keras.random, "normal", small_workers.no_noise)
    case = gate, capacity_factor, accumulate_steps
    one = trained_alone("float32", *case)
    strategy = {2: two_replicas, 4: four_replicas}[number]
    placement = ReplicaPlacement(strategy) if has_parts else None
    several = trained(Workers(strategy, placement=placement), *case)
    for ours, theirs in zip(
        tf.nest.flatten(several), tf.nest.flatten(one), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, TOLERANCE, TOLERANCE)
    overflow = one[-1][-1]
    assert (overflow > 0) == (capacity_factor is not None)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["copies", "parts", "mesh"])
def test_bfloat16_on_two_devices(how, bfloat16, two_replicas, monkeypatch):
    """20 steps: losses and norms to 3 %, weights to 0.002.

    Sums in another order differ by 1 % in bfloat16, and Adam moves a weight by
    0.2 at most.
    """
    monkeypatch.setattr(keras.random, "normal", small_workers.no_noise)
    workers = {
        "copies": lambda: Workers(two_replicas),
        "parts": lambda: Workers(
            two_replicas, placement=ReplicaPlacement(two_replicas)
        ),
        "mesh": lambda: Workers(
            placement=MeshLayout("all:2", "batch:all;experts:all")
        ),
    }[how]()
    ours = trained(workers, "flat")
    theirs = trained_alone("mixed_bfloat16", "flat")
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0.03)
    for a, b in zip(
        tf.nest.flatten(ours[1:3]), tf.nest.flatten(theirs[1:3]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "accumulate_steps", [1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_step_that_is_bad_on_one_replica_changes_none(
    accumulate_steps, two_replicas
):
    with two_replicas.scope():
        model = masked_model("bias", None)
        optimizer = FusedAdam(0.01)
        optimizer.build(model.trainable_variables)
    step = TrainStep(model, squared_error, optimizer, 0.5, accumulate_steps)
    good, bad = examples(0), examples(0).numpy()
    bad[-1, 0, 0] = np.nan
    assert step(iter([good] * 2))[0].is_finite
    assert np.any(model.get_layer("moe").gate.bias)
    variables = [*model.weights, *optimizer.variables]
    before = [np.array(v.value.values) for v in variables]
    figures, _ = step(iter([tf.constant(bad)] + [good]))
    assert not figures.is_finite
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable.value.values), old)


def test_replicas_draw_numbers_of_their_own(two_replicas):
    with two_replicas.scope():
        dropout = keras.layers.Dropout(0.5, seed=3)
        model = keras.Sequential([keras.Input((1000,)), dropout])
    (state,) = dropout.seed_generator.state.value.values[:1]
    first = state.numpy().tolist()
    for _ in range(2):  # again, as after a checkpoint
        spread_random_states(model)
    assert state.numpy().tolist() == first
    ones = tf.ones((4, 1000))

    @tf.function(autograph=False)
    def kept():
        return two_replicas.run(lambda: model(ones, training=True) > 0)

    one, other = (replica.numpy() for replica in kept().values)
    # Two draws of 4,000 agree in half of them, give or take 63 (2 sigma).
    assert abs(np.mean(one == other) - 0.5) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("has_parts_first", [True, False])
def test_checkpoint_knows_no_strategy(
    has_parts_first, two_replicas, tmp_path, monkeypatch
):
    """5 steps here, 4 more there: as 9 steps without a strategy."""
    monkeypatch.setattr(keras.random, "normal", small_workers.no_noise)
    of_parts = Workers(two_replicas, placement=ReplicaPlacement(two_replicas))
    order = [of_parts, Workers()] if has_parts_first else [Workers(), of_parts]
    lines = []
    small_workers.train(tmp_path / "both", 5, order[0], log=lines.append)
    small_workers.train(tmp_path / "both", 9, order[1], log=lines.append)
    assert "Resuming after step 5." in lines
    small_workers.train(tmp_path / "one", 9, log=lambda line: None)
    largest, compared = small_workers.largest_difference(
        tmp_path / "one", tmp_path / "both"
    )
    assert compared > 40 and largest < TOLERANCE


def test_experts_that_cannot_be_shared_out_are_refused(two_replicas):
    placement = ReplicaPlacement(two_replicas)
    with two_replicas.scope(), placement.scope():
        with pytest.raises(ValueError, match="3 experts.*take 2 or 4"):
            SparseMoE(3, k=2, hidden_dim=5).build((None, 6))
        dense = SparseMoE(4, k=2, expert=lambda: keras.layers.Dense(6))
        with pytest.raises(ValueError, match="StackedExperts"):
            dense.build((None, 6))
