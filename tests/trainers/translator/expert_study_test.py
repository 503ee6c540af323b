"""From a model folder to what its experts do."""

import json

import numpy as np
import pytest
import tensorflow as tf
from small_runs import SMALL

from moe_keras.monitoring import routing_layers
from trainers.engine.config.overrides import with_overrides
from trainers.engine.loop import seed_everything
from trainers.translator.expert_study import route_corpus, study_experts
from trainers.translator.folder import ModelFolder, build_model
from translation.text.corpora.corpus import CorpusError, open_corpus
from translation.text.input_pipeline import evaluation_batches
from translation.text.tokenizer.training import train_tokenizer

PAIRS = [
    ("one dog", "un chien"),
    ("two dogs run home", "deux chiens"),
    ("one cat", "un chat"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with random weights, and its corpus beside it."""
    path = tmp_path_factory.mktemp("run")
    for column, language in enumerate(("en", "fr")):
        lines = "".join(f"{pair[column]}\n" for pair in PAIRS)
        (path / f"test.{language}").write_text(lines)
    tokenizer = train_tokenizer([text for pair in PAIRS for text in pair], 300)
    config = with_overrides(
        SMALL,
        [
            "num_experts=4",
            f"vocab_size={tokenizer.vocab_size}",
            f"test={path / 'test'}",
        ],
    )
    seed_everything(0)
    model = build_model(config)
    for layer in routing_layers(model):
        kernel = layer.gate.gate_kernel
        kernel.assign(tf.random.normal(kernel.shape))
    ModelFolder(path).save_model(config, model, tokenizer)
    return path


def test_each_token_is_routed_once_and_as_the_model_does(folder):
    config = ModelFolder(folder).load_config()
    model, tokenizer = ModelFolder(folder).load_model(config)
    corpus = open_corpus(config.test, config.pair, "test")
    batches = evaluation_batches(corpus, tokenizer, config.batches)
    routed = route_corpus(model, tokenizer, batches)
    assert list(routed) == ["encoder_moe_1_layer", "decoder_moe_1_layer"]
    for layer in routing_layers(model):
        layer.reset_routing_statistics()
    run = tf.function(model, reduce_retracing=True, autograph=False)
    for batch in batches:
        run(batch)  # and its layers count
    for layer in routing_layers(model):
        load = np.bincount(
            routed[layer.name].choices().expert, minlength=layer.num_experts
        )
        np.testing.assert_array_equal(load, layer.routing_statistics().load)


def test_tokens_are_those_that_the_layer_sees(folder):
    config = ModelFolder(folder).load_config()
    model, tokenizer = ModelFolder(folder).load_model(config)
    corpus = open_corpus(config.test, config.pair, "test")
    batches = evaluation_batches(corpus, tokenizer, config.batches)
    encoder, decoder = route_corpus(model, tokenizer, batches, "abc").values()

    def sentences(routed, column):
        names = np.array(column.names)[column.ids()]
        cuts = np.flatnonzero(np.diff(routed.sentence())) + 1
        return sorted("".join(part) for part in np.split(names, cuts))

    assert sentences(encoder, encoder.token) == sorted(
        f"\u2581{source}</s>".replace(" ", "\u2581") for source, _ in PAIRS
    )
    assert sentences(decoder, decoder.token) == sorted(
        f"<s>\u2581{target}".replace(" ", "\u2581") for _, target in PAIRS
    )
    assert sentences(decoder, decoder.factors["next token"]) == sorted(
        f"\u2581{target}</s>".replace(" ", "\u2581") for _, target in PAIRS
    )
    # The second sentence, the longest, has the second label.
    longest = np.bincount(encoder.sentence()).argmax()
    assert encoder.label.names[encoder.label.ids()[longest]] == "b"


def test_files_of_a_study(folder, tmp_path):
    labels = tmp_path / "labels"
    labels.write_text("dog\ndog\ncat\n")
    lines = []
    studies = study_experts(folder, labels=labels, log=lines.append)
    assert [study.layer for study in studies] == [
        "encoder_moe_1_layer",
        "decoder_moe_1_layer",
    ]
    values = json.loads((folder / "experts.json").read_text("utf-8"))
    assert values["layers"][0]["sentences"] == 3
    page = (folder / "experts.md").read_text("utf-8")
    assert "label, token known" in page and "next token" in page
    context = studies[0].experts[0].contexts[0]
    assert "\u2581" not in context.before + context.after
    # A lone mark of a word's beginning has nothing else to show.
    assert "\u2581" not in context.token or context.token == "\u2581"
    assert lines[-1] == f"Wrote {folder / 'experts.md'}"


def test_labels_that_do_not_fit_are_refused(folder, tmp_path):
    labels = tmp_path / "labels"
    labels.write_text("dog\n")
    with pytest.raises(CorpusError, match="label for each of the 3.*has 1"):
        study_experts(folder, labels=labels, log=lambda _: None)
