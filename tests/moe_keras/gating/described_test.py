"""What gates say of themselves is so, and all that programs need to know."""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import moe_keras
from moe_keras import Router, gating
from moe_keras.gating import GATES
from moe_keras.gating.configured import make_gate, parse_options
from moe_keras.gating.sizes import GateSizes
from moe_keras.plan import MoE
from translation.model.config import TranslatorConfig

DOCS = pathlib.Path(moe_keras.__file__).parents[1] / "docs"
SIZES = GateSizes(depth=5, num_experts=6, k=2, groups=3, groups_per_token=2)
OF_ONE = GateSizes(depth=5, num_experts=6, k=1, groups=3, groups_per_token=1)


def sizes_of(name):
    return OF_ONE if name == "switch" else SIZES


def table(page, heading):
    """Cells of the first table that follows a heading, without its head."""
    section = (DOCS / page).read_text("utf-8").split(f"\n{heading}\n")[1]
    rows = re.findall(r"^\| (.+) \|$", section.split("\n#")[0], re.MULTILINE)
    return [row.split(" | ") for row in rows[2:]]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", GATES)
def test_weights_and_parameters_are_those_of_a_gate(name, bias):
    sizes = dataclasses.replace(sizes_of(name), bias=bias)
    arguments = GATES[name].arguments_for(sizes)
    gate = GATES[name](**arguments, use_bias=bias, name="gate")
    gate(np.ones((1, sizes.depth), "float32"))
    cost = GATES[name].cost(sizes)
    built = {
        weight.path.removeprefix("gate/"): tuple(weight.shape)
        for weight in gate.trainable_variables
    }
    assert cost.weights == built
    assert cost.parameters == sum(np.size(w) for w in gate.trainable_variables)


@pytest.mark.parametrize("name", sorted(GATES.keys() - {"hierarchical"}))
def test_ops_are_the_products_of_a_training_step(name):
    sizes, tokens = sizes_of(name), 7
    gate = GATES[name](**GATES[name].arguments_for(sizes))
    run = tf.function(lambda x: gate(x, training=True), autograph=False)
    graph = run.get_concrete_function(
        tf.TensorSpec((tokens, sizes.depth))
    ).graph
    products = [
        op.inputs[0].shape[1] * np.prod(op.outputs[0].shape)
        for op in graph.get_operations()
        if op.type == "MatMul"
    ]
    assert sum(products) == tokens * GATES[name].cost(sizes).ops


def test_hierarchical_gate_multiplies_with_the_groups_it_chose():
    # Two kernels of D = 5 by G = 3 groups and 2 chosen groups of M = 2 experts.
    assert GATES["hierarchical"].cost(SIZES).ops == 2 * 5 * (3 + 2 * 2)


class LastChoice(Router):
    """A gate as one file of one's own has it: the least probable experts."""

    config_name = "last_choice"

    def __init__(self, num_experts, k=1, sharpness=1.0, **kwargs):
        super().__init__(num_experts, **kwargs)
        self.k = k
        self.sharpness = sharpness

    def call(self, inputs, mask=None, training=False):
        mask = self.checked_mask(mask, inputs)
        logits = -self.sharpness * self.logits(inputs, mask)
        top, expert = tf.math.top_k(logits, self.k)
        return self.routing(expert, tf.nn.softmax(top), mask)

    def get_config(self):
        return {
            **super().get_config(),
            "k": self.k,
            "sharpness": self.sharpness,
        }


def test_new_gate_is_known_everywhere_by_its_class(monkeypatch):
    """To the translator, `--set`, and the planner."""
    monkeypatch.setitem(GATES, "last_choice", LastChoice)
    assert parse_options("sharpness=2", LastChoice) == {"sharpness": 2.0}
    config = TranslatorConfig(gate="last_choice", gate_options="sharpness=2")
    gate = make_gate(config)
    assert (gate.num_experts, gate.k, gate.sharpness) == (16, 2, 2.0)
    assert gate.knob_names["sharpness"] == "sharpness of gate_options"
    assert MoE(5, 8, 6, k=2, gate="last_choice").gate_parameters == 5 * 6
    with pytest.raises(ValueError, match="Options of LastChoice.*sharpness=1"):
        TranslatorConfig(gate="last_choice", gate_options="jitter=1")


def test_every_gate_of_the_package_has_a_name_but_expert_choice():
    """Which a decoder must not have."""
    classes = {
        value
        for value in vars(gating).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    nameless = classes - set(GATES.values())
    assert nameless == {Router, moe_keras.ExpertChoiceGate}


def test_table_of_gates_has_each_with_its_name():
    rows = table("gating.md", "## Which gate")
    told = {
        re.search(r"\w+", gate)[0]: name.strip("`") for gate, name, *_ in rows
    }
    assert told == {
        gate: getattr(gating, gate).config_name or "none"
        for gate in gating.__all__
        if hasattr(getattr(gating, gate), "balance_knobs")
    }


def test_table_of_knobs_has_those_of_each_gate():
    told = {
        gate: re.findall(r"`(\w+)`", knobs)
        for gates, knobs in table("monitoring.md", "## Verdicts")[-6:]
        for gate in re.findall(r"`(\w+)`", gates)
    }
    for name in gating.__all__:
        gate = getattr(gating, name)
        if hasattr(gate, "balance_knobs"):
            noise = [gate.noise_knob] if hasattr(gate, "noise_knob") else []
            assert [k for k in told[name] if k != "noise_knob"] == [
                *gate.balance_knobs,
                *noise,
            ]


def test_field_of_the_gate_names_them_all():
    fields = dict(
        row[::2]
        for row in table(
            "training.md",
            "### `model.`: `TranslatorConfig` in `translation/model/config.py`",
        )
    )
    assert set(re.findall(r"`(\w+)`", fields["`gate`"])) == set(GATES)
