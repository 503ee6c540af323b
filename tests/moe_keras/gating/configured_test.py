"""Every argument of every gate can be set, and nothing else."""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest

import translation
from moe_keras.gating import GATES
from moe_keras.gating.configured import make_gate, parse_options
from moe_keras.moe_config import dense_twin
from moe_keras.monitoring import Judge, Thresholds, make_window
from translation.model.config import TranslatorConfig

PAGE = pathlib.Path(translation.__file__).parents[1] / "docs/training.md"
OTHERS = {  # of a value other than the default, for each option
    "noise_epsilon": 0.5,
    "initial_noise": 0.25,
    "seed": 7,
    "threshold_loss_weight": 0.5,
    "softmax": "before",
    "jitter": 0.5,
    "balance_loss_weight": 0.5,
    "z_loss_weight": 0.5,
    "update_rate": 0.5,
    "update_every": None,
    "k_max": 3,
    "mass": 0.25,
    "target": None,
    "target_rate": 0.5,
    "kernel_initializer": "ones",
    "kernel_regularizer": "l2",
    "use_bias": True,
    "num_groups": 4,
    "groups_per_token": 2,
    "gate_scale": 2.5,
}


def config_of(gate, options=""):
    one = {"experts_per_token": 1} if gate == "switch" else {}
    return TranslatorConfig(gate=gate, gate_options=options, **one)


@pytest.mark.parametrize("name", GATES)
def test_every_argument_of_a_gate_reaches_it(name):
    plain = make_gate(config_of(name)).get_config()
    of_layer = keras.layers.Layer().get_config()
    fields = {"num_experts", "num_groups", "experts_per_group", "k"}
    fields.add("sparse_gradients")  # who trains says so
    fields -= set(GATES[name].options())  # which may set one of these names
    options = set(plain) - set(of_layer) - fields
    assert options == set(GATES[name].options())
    text = ",".join(f"{option}={OTHERS[option]}" for option in options)
    changed = make_gate(config_of(name, text)).get_config()
    for option in options:
        value = changed[option]
        if option in ("kernel_initializer", "kernel_regularizer"):
            value = value["class_name"].lower()
        assert value == OTHERS[option]
        assert changed[option] != plain[option]
    for field in fields & set(plain):
        assert changed[field] == plain[field]


@pytest.mark.parametrize(
    "gate, options, message",
    [
        ("top_k", "update_rate=1", "'update_rate=1'. Options of TopKGate"),
        ("top_k", "update_rate=1", "balance_loss_weight=0.01, z_loss_weight"),
        ("top_k", "k=3", "'k=3'. Options of TopKGate"),
        ("top_k", "jitter", "takes OPTION=VALUE"),
        ("top_k", "jitter=0.1,", "takes OPTION=VALUE"),
        ("top_k", "jitter=0.1,jitter=0.2", "each once"),
        ("top_k", "jitter=much", "`jitter` of `gate_options` takes a number"),
        (
            "threshold",
            "k_max=2.5",
            "`k_max` of `gate_options` takes a whole number",
        ),
        ("top_k", "seed=a", "`seed` of `gate_options` takes a whole number"),
    ],
)
def test_unknown_options_are_refused_at_once(gate, options, message):
    with pytest.raises(ValueError) as error:
        config_of(gate, options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "gate, options, message",
    [
        ("top_k", "jitter=-1", "`jitter` must be at least 0 and below 1"),
        ("top_k", "softmax=within", "`softmax` must be 'after' or 'before'"),
        ("bias_balanced", "update_every=0", "`update_every` must be at least"),
        ("top_k", "jitter=None", "below 1. Received: jitter=None"),
        ("threshold", "mass=None", "`mass` must be above 0 and below 1"),
    ],
)
def test_values_out_of_range_are_refused_by_the_gate(gate, options, message):
    with pytest.raises(ValueError) as error:
        make_gate(config_of(gate, options))
    assert message in str(error.value)


def test_numbers_are_read_as_people_write_them():
    gate = GATES["threshold"]
    options = parse_options("target=3, mass = 5e-1,k_max=4", gate)
    assert options == {"target": 3.0, "mass": 0.5, "k_max": 4}
    assert type(options["target"]) is float and type(options["k_max"]) is int


def test_dense_twin_has_no_options():
    config = config_of("top_k", "jitter=0.1")
    assert dense_twin(config).gate_options == ""


@pytest.mark.parametrize(
    "name, advised",
    [
        (
            "noisy_top_k",
            "raise importance_loss_weight and load_loss_weight",
        ),
        ("noisy_top_k", "more noise: raise noise_epsilon of gate_options"),
        ("top_k", "raise balance_loss_weight of gate_options, or"),
        ("bias_balanced", "raise update_rate of gate_options, or"),
    ],
)
def test_what_a_verdict_advises_can_be_set(name, advised):
    window = make_window("moe", 10, 10, tokens=100, load=[100, 100, 0, 0])
    window = dataclasses.replace(window, noise_over_gap=0.01)
    gate = make_gate(config_of(name))
    advice = Judge(Thresholds(), gate).judge(window).advice
    assert advised in advice
    fields = {field.name for field in dataclasses.fields(TranslatorConfig)}
    for knob, options in re.findall(r"(\w+_\w+)( of gate_options)?", advice):
        if options:
            assert knob in GATES[name].options()
        elif knob != "gate_options":
            assert knob in fields


def test_options_change_what_a_model_does():
    """All experts are alike to a gate of zeros: it takes the first two."""
    gate = make_gate(config_of("top_k", "kernel_initializer=zeros"))
    routing = gate(np.ones((1, 4), "float32"))
    assert routing.expert_index.numpy().tolist() == [[0, 1]]
    np.testing.assert_allclose(routing.gate, [[0.5, 0.5]])


def test_table_of_the_docs_has_all_options_with_their_defaults():
    section = PAGE.read_text("utf-8").split("#### Options of the gate")[1]
    rows = re.findall(r"^\| (`.+?) \| (\S+=.*) \|$", section, re.MULTILINE)
    told = {
        name: text
        for names, text in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    assert set(told) == set(GATES)
    for name, text in told.items():
        options = GATES[name].options().items()
        assert text == ", ".join(f"{key}={value}" for key, value in options)
