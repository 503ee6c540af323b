"""What a run prints before and after training."""

import dataclasses
import shlex

from absl import flags

from trainers import nmt
from trainers.engine.config.overrides import field_paths
from trainers.translator import report
from trainers.translator.folder import ModelFolder
from trainers.translator.presets import preset
from translation.model.config import TranslatorConfig
from translation.model.sizes import count_ops, count_parameters

ROUTING = {
    "cv_importance": 0.25,
    "cv_load": 0.5,
    "max_over_mean_load": 1.75,
    "idle_share": 0.125,
    "mean_k": 1.875,
}
RESULTS = {
    "perplexity": 3.14159,
    "sentences_per_second": 12.3,
    "bleu": 87.654,
    "signature": "nrefs:1|case:mixed",
    "bleu_lowercased": 88.0,
    "signature_lowercased": "nrefs:1|case:lc",
    "examples": [
        {"source": "one", "translation": "un", "reference": "une"},
        {"source": "two", "translation": "deux", "reference": "deux"},
    ],
    "routing": {"encoder_moe_2_layer": ROUTING},
}


def _lines(show, *arguments):
    lines = []
    show(*arguments, lines.append)
    return lines


def test_every_field_of_the_configuration_is_shown():
    config = preset("phrasebook")
    lines = _lines(report.show_config, config)
    for path, value in field_paths(config).items():
        assert f"  {path} = {value!r}" in lines


def test_sizes_are_those_that_were_counted():
    model = TranslatorConfig(vocab_size=1000, depth=8, lstm_units=8)
    config = dataclasses.replace(preset("phrasebook"), model=model)
    parameters, ops = count_parameters(model), count_ops(model)
    text = "\n".join(_lines(report.show_config, config))
    assert f"{parameters.total:,} in all, {parameters.active:,} active" in text
    assert f"Ops per timestep: {ops.total:,} multiply-adds" in text
    shown = ops.lstm + ops.experts + ops.attention + ops.context + ops.softmax
    assert shown == ops.total  # the parts in the brackets make up the whole


def test_results_show_bleu_translations_and_routing():
    lines = _lines(report.show_results, RESULTS)
    assert "  source       one" in lines
    assert "  translation  un" in lines
    assert "  reference    une" in lines
    assert "Perplexity 3.142 for each subword" in lines
    assert "BLEU 87.65  nrefs:1|case:mixed" in lines
    assert "BLEU 88.00  nrefs:1|case:lc" in lines


def test_figures_of_routing_stand_under_their_heads():
    lines = _lines(report.show_results, RESULTS)
    head = next(line for line in lines if "CV(load)" in line)
    row = next(line for line in lines if "encoder_moe_2_layer" in line)
    assert row.split() == [
        "encoder_moe_2_layer",
        "0.250",
        "0.500",
        "1.750",
        "0.125",
        "1.875",
    ]
    for name, figure in (
        ("CV(importance)", "0.250"),
        ("CV(load)", "0.500"),
        ("max/mean load", "1.750"),
        ("idle experts", "0.125"),
        ("experts/token", "1.875"),
    ):
        end = head.index(name) + len(name)
        assert row[:end].endswith(figure)


def test_results_of_an_earlier_version_are_shown_too():
    former = {key: ROUTING[key] for key in ROUTING if key != "mean_k"}
    results = {**RESULTS, "routing": {"moe": former}}
    lines = _lines(report.show_results, results)
    (row,) = (line for line in lines if line.startswith("  moe "))
    assert row.split()[-2:] == ["0.125", "nan"]


def test_next_commands_can_be_typed_as_they_stand():
    folder = ModelFolder("runs/my own")
    lines = _lines(report.show_next_commands, "en-fr", folder)
    of_several = _lines(report.show_next_commands, "en-fr,de:both", folder)
    assert not any("--target" in line for line in lines)
    assert "--mode=translate --target=fr" in of_several[2]
    values = flags.FlagValues()
    nmt.define_flags(values)
    modes = values["mode"].parser.enum_values
    seen = []
    for line in lines:
        words = shlex.split(line.split("|")[-1])
        if words[:3] == ["python", "-m", nmt.__name__]:
            given = dict(word[2:].split("=") for word in words[3:])
            assert given["model_dir"] == "runs/my own"
            assert set(given) <= set(values)
            seen.append(given["mode"])
        elif words[:3] == ["python", "-m", "moe_keras.report"]:
            assert words[3:] == ["runs/my own"]
        elif words[:1] == ["tensorboard"]:
            assert words[1] == "--logdir=runs/my own/logs"
    assert seen == ["translate", "evaluate", "export"]
    assert set(seen) < set(modes)
