"""What crosses between devices, counted; the pictures of layouts, drawn."""

import functools
import xml.etree.ElementTree

import keras
import pytest
import tensorflow as tf

import moe_keras
from moe_keras import plan
from moe_keras.parallel import MeshLayout, update_in_place
from moe_keras.plan.model import LayerCost, Model
from trainers.engine.optimizer import FusedAdam
from trainers.engine.train_step import TrainStep


def test_each_tensor_counts_once_for_each_device_that_needs_it(load):
    with tf.device("CPU:1"):
        kernel = tf.Variable(tf.ones((3, 5)))

    @tf.function(autograph=False)
    def step(x):
        with tf.device("CPU:1"):
            y = tf.matmul(x, kernel)
            first, _ = tf.split(y, 2)
            z = tf.nn.relu(y) + 1.0
        with tf.device("CPU:0"):
            kernel.assign_add(tf.ones((3, 5)))
            return tf.reduce_sum(first) + tf.reduce_sum(first**2), z

    seen = load("crossing").trace(step, tf.ones((4, 3)))
    crossed = sorted(
        (c.source[-1], c.target[-1], c.bytes)
        for c in seen.crossings
        if c.bytes > 4
    )
    # To device 1: x (4, 3), and what is added to the kernel (3, 5). From it:
    # half of y (2, 5), once for both of its readers, and z (4, 5).
    assert crossed == [
        ("0", "1", 4 * 12),
        ("0", "1", 4 * 15),
        ("1", "0", 4 * 10),
        ("1", "0", 4 * 20),
    ]
    assert kernel.numpy().sum() == 15  # a copy was run


SIZES = {"N": 256, "D": 64, "H": 128, "E": 8, "K": 2}
MESH = "mesh, batch and experts"
EXPERTS = "mesh, experts"


def planned(load, name):
    """The planner's layout of this name, and its model of `SIZES`."""
    layer = plan.MoE(64, 128, 8, 2, gate="top_k", bias=True)
    model = Model("", LayerCost(), (layer,), tokens=256)
    count = 1 if name == load("layout_cases").ONE else 4
    known = {layout.name: layout for layout in plan.layouts(model, count)}
    return model, known[name]


@pytest.fixture(scope="module")
def traced(load):
    """What a step under a layout sends and holds, by the layout's name."""
    cases = load("layout_cases")
    make = {
        name: functools.partial(cases.on_mesh, "balanced", SIZES, *rest)
        for name, *rest in cases.MESHES
    }
    make[cases.ONE] = lambda: cases.case_of(
        cases.make_layer("balanced", SIZES), SIZES
    )
    make[cases.REPLICAS] = functools.partial(
        cases.on_replicas, "balanced", SIZES
    )

    @functools.cache
    def trace(name):
        return load("crossing").trace(make[name]().step)

    return trace


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


MESHES = [
    MESH,
    EXPERTS,
    *slow(
        "mesh, hidden",
        "mesh, batch",
        "mesh, batch 2 x experts 2",
        "mesh, batch and experts 2 x hidden 2",
        "mesh, experts 2 x hidden 2",
    ),
]
REPLICAS = "replicas, experts shared out"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MESHES, REPLICAS])
def test_what_crosses_is_what_the_planner_says(name, load, traced):
    """All that crosses, whatever it is, is at most 1.1 times the least."""
    least = load("layouts").planned_bytes(name, SIZES)
    assert least <= traced(name).bytes < 1.1 * least


@pytest.mark.parametrize("name", [EXPERTS, REPLICAS])
def test_no_more_is_sent_than_the_rows_of_tokens(name, traced):
    # Four times 2 * 256 rows of 64 numbers, a quarter of which stay.
    least = 4 * 4 * 64 * 2 * 256 * 3 / 4
    assert least <= traced(name).bytes < 1.1 * least


@pytest.mark.slow
def test_a_device_with_all_experts_of_a_token_is_sent_it_once(load):
    """All eight experts of each token, two on each of four devices."""
    sizes = {**SIZES, "K": 8}
    case = load("layout_cases").on_mesh(
        "balanced", sizes, "all:4", "experts:all"
    )
    # Four times 256 rows of 64 numbers, to three devices.
    least = 4 * 4 * 64 * 256 * 3
    assert load("layouts").planned_bytes(EXPERTS, sizes) == least
    # Beside 64 numbers of a row go eight experts, gates and gradients of them.
    most = least * (1 + 3 * 8 / (4 * 64))
    assert least <= load("crossing").trace(case.step).bytes < 1.01 * most


@pytest.mark.parametrize("name", ["one device", *MESHES, REPLICAS])
def test_memory_of_a_step_is_what_the_planner_says(name, load, traced):
    """Activations within 10 %, the height of the step within 30 %.

    The height depends on the order in which TensorFlow takes operations that
    do not wait for each other.
    """
    model, layout = planned(load, name)
    # The gate of the benchmark has its choices fixed and keeps next to nothing.
    gate = 4 * model.tokens * model.moe[0].gate_cost.kept
    gates = [gate, 0, 0, 0]
    if layout.is_mirrored:
        gates = layout.devices * [gate / layout.devices]
    seen = traced(name)
    for number in range(layout.devices):
        device = next(x for x in seen.kept if x.endswith(f"CPU:{number}"))
        held = plan.memory(model, layout, plan.Training(), number)
        kept = held.activations - gates[number]
        assert seen.kept[device] == pytest.approx(kept, rel=0.1)
        height = kept + held.gradients + held.passing
        assert seen.peaks[device] == pytest.approx(height, rel=0.3)


GATES = {
    "noisy_top_k": lambda: moe_keras.NoisyTopKGate(64, k=2, seed=0),
    "top_k": lambda: moe_keras.TopKGate(64, k=2),
    "hierarchical": lambda: moe_keras.HierarchicalGate(8, 8, k=(2, 1)),
}


@pytest.mark.parametrize(
    "kind", ["noisy_top_k", *slow("top_k", "hierarchical")]
)
def test_a_gate_keeps_what_the_planner_says(kind, load):
    """Within 10 %, of a layer of which the gate keeps much."""
    layer = moe_keras.SparseMoE(64, hidden_dim=32, gate=GATES[kind]())
    layer.build((None, 64))
    case = load("layout_cases").case_of(layer, SIZES)
    seen = load("crossing").trace(case.step)
    sizes = plan.MoE(64, 32, 64, 2, gate=kind, groups=8, bias=True)
    model = Model("", LayerCost(), (sizes,), tokens=256)
    held = plan.memory(model, plan.layouts(model, 1)[0], plan.Training())
    assert max(seen.kept.values()) == pytest.approx(held.activations, rel=0.1)


@pytest.mark.parametrize("accumulate_steps", [1, *slow(2)])
def test_gradients_of_shards_stay_where_the_shards_are(accumulate_steps, load):
    """In the trainer's step, with four kernels of 16 kB on each device."""
    with MeshLayout("all:2", "batch:all;experts:all").scope():
        layer = moe_keras.SparseMoE(4, k=2, hidden_dim=256)
        model = keras.Sequential([keras.Input((8,)), layer])
    optimizer = FusedAdam()
    optimizer.build(model.trainable_variables)

    def loss(model, x):
        return tf.reduce_sum(model(x, training=True)), tf.constant(3.0)

    step = TrainStep(model, loss, optimizer, 1.0, accumulate_steps)
    if accumulate_steps == 1:
        runs = [(step._update, tf.ones((3, 8)))]
    else:
        runs = [(step._add, tf.ones((3, 8))), (step._update_by_sums,)]
    for run in runs:
        crossings = load("crossing").trace(*run).crossings
        assert max(c.bytes for c in crossings) < 4 * 8 * 256


@pytest.mark.slow
def test_keras_updates_shards_where_they_are(load):
    """In the step of `fit`, with two kernels of 16 kB on each device."""
    with MeshLayout("all:2", "hidden:all").scope():
        layer = moe_keras.SparseMoE(4, k=2, hidden_dim=256)
        model = keras.Sequential([keras.Input((8,)), layer])
    model.compile(update_in_place(keras.optimizers.Adam()), "mse")
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda x: model.train_step((x, x)), autograph=False)
    crossings = load("crossing").trace(step, tf.ones((3, 8))).crossings
    assert crossings and max(c.bytes for c in crossings) < 4 * 8 * 128 * 4


@pytest.mark.slow
def test_pictures_of_layouts_are_drawn_and_the_same_each_time(load, tmp_path):
    pictures = load("layout_pictures")
    files = []
    for _ in range(2):
        pictures.draw(tmp_path)
        files.append([path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert files[0] == files[1] and len(files[0]) == 2
    for path in tmp_path.iterdir():
        assert xml.etree.ElementTree.parse(path).getroot().tag.endswith("svg")
