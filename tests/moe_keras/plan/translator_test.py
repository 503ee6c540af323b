"""A whole translator on four devices, as planned and as built."""

import pytest
from four_devices import bytes_by_device, started

from moe_keras.plan import Training, layouts, memory, read_model
from trainers.engine.averaging import MovingAverage
from trainers.engine.optimizer import OPTIMIZERS
from trainers.translator.folder import ModelFolder, build_model
from trainers.translator.presets import NmtConfig
from translation.model.config import TranslatorConfig

# Experts, tables and LSTM layers have a share each that would be missed.
CONFIG = NmtConfig(
    model=TranslatorConfig(
        vocab_size=300,
        depth=16,
        lstm_units=24,
        num_experts=8,
        expert_hidden_dim=32,
        attention_units=12,
    )
)


def slow(*values):
    return [pytest.param(*value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize(
    "name, optimizer",
    [
        ("mesh, batch and experts", "adam"),
        ("replicas, experts shared out", "factored_adam"),
        *slow(
            ("mesh, experts", "factored_adam"),
            ("mesh, hidden", "adam"),
            ("mesh, batch and experts 2 x hidden 2", "adam"),
            ("mesh, experts 2 x hidden 2", "adam"),
            ("replicas", "adam"),
            ("replicas, experts shared out", "adam"),
        ),
    ],
)
def test_a_translator_holds_what_is_planned(name, optimizer, tmp_path):
    """All variables of each device within 10 %, whatever they are for."""
    ModelFolder(tmp_path).save_config(CONFIG)
    planned, _ = read_model(tmp_path / "config.json")
    (layout,) = (x for x in layouts(planned, 4) if x.name == name)
    workers = started(layout)
    with workers.scope():
        model = build_model(CONFIG)
        kept = OPTIMIZERS[optimizer]()
        kept.build(model.trainable_variables)
        average = MovingAverage(
            [v.value for v in model.trainable_variables], 0.9
        )
    weights, state, averages = map(
        bytes_by_device,
        (model.variables, kept.variables, average.averages),
    )
    training = Training(optimizer=optimizer, average=True)
    for device in range(4):
        held = memory(planned, layout, training, device)
        alone = held.expert_weights + held.other_weights
        assert weights[device] == pytest.approx(alone, rel=0.1)
        assert state[device] == pytest.approx(held.optimizer, rel=0.1)
        assert averages[device] == pytest.approx(held.average, rel=0.1)
