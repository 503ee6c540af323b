"""Routing of lines, against one call a line; what is left of a study."""

import numpy as np

from language_model.words import count_words
from moe_keras.monitoring import collected_routing
from trainers.engine.config.presets import preset_named
from trainers.language_model.expert_study import route_lines, study_experts
from trainers.language_model.folder import LmFolder, build_model
from trainers.language_model.presets import PRESETS

LINES = ["a dog sleeps", "the cat sees it", "", "a cat"]
WORDS = count_words(LINES, 20)
CONFIG = preset_named(
    PRESETS,
    "small",
    [
        "vocabulary_kind=words",
        f"vocab_size={WORDS.vocab_size}",
        "depth=8",
        "lstm_units=8",
        "num_experts=4",
    ],
)


def _model():
    model = build_model(CONFIG)
    (gate,) = [w for w in model.weights if w.name == "gate_kernel"]
    gate.assign(np.random.default_rng(0).normal(size=gate.shape))
    return model


def test_every_token_is_routed_as_when_its_line_is_alone():
    model = _model()
    (routed,) = route_lines(model, WORDS, LINES).values()
    choices = routed.choices()
    assert choices.token.max() + 1 == sum(len(x.split()) + 1 for x in LINES)
    expected = []
    for line in sorted(LINES, key=lambda line: len(line.split())):
        with collected_routing(model) as routings:
            model(np.array([[1, *WORDS.encode([line])[0]]]))
        expected += routings[0].expert_index.numpy()[0].tolist()
    for token, experts in enumerate(expected):
        found = choices.expert[choices.token == token]
        assert sorted(found) == sorted(experts)


def test_study_leaves_its_files_with_labels(tmp_path):
    folder = LmFolder(tmp_path / "run")
    folder.save_model(CONFIG, _model(), WORDS)
    (tmp_path / "test.txt").write_text("".join(f"{x}\n" for x in 9 * LINES))
    (tmp_path / "labels").write_text(9 * "dog\ncat\nnone\ncat\n")
    studies = study_experts(
        folder.path,
        str(tmp_path / "test.txt"),
        str(tmp_path / "labels"),
        log=lambda line: None,
    )
    text = (folder.path / "experts.md").read_text()
    assert len(studies) == 1 and "label" in text
