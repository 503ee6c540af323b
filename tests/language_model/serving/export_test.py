"""A language model out to a folder, and back in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from small_language_models import LINES, make_model, make_vocabulary

from language_model.batches import BatchOptions
from language_model.generate import GenerateOptions, TextGenerator
from language_model.serving.export import export_language_model
from trainers.language_model.evaluation import LineLikelihoods
from translation.serving import warmup

OPTIONS = GenerateOptions(max_tokens=5, seed=2)
TEXTS = ["the dog", "", "a cat sees it", "Größe 😀"]

# What a stranger would write, without this project.
STRANGER = """
import json, sys
import tensorflow as tf
import tensorflow_text
loaded = tf.saved_model.load(sys.argv[1])
texts = tf.constant(json.loads(sys.argv[2]))
result = {
    name: {
        key: value.numpy().tolist()
        for key, value in loaded.signatures[name](inputs=texts).items()
    }
    for name in ("serving_default", "score", "routing", "tokenize")
}
assert not {"moe_keras", "translation", "language_model"} & sys.modules.keys()
print(json.dumps(result, default=bytes.decode))
"""


@pytest.fixture(scope="module", params=["words", "subwords"])
def exported(request, tmp_path_factory):
    """Model, vocabulary and the folder of its version."""
    vocabulary = make_vocabulary(request.param)
    model = make_model(vocabulary.vocab_size)
    path = export_language_model(
        model,
        vocabulary,
        tmp_path_factory.mktemp("export"),
        OPTIONS,
        about={"figures": {"perplexity": 9.5}},
    )
    return model, vocabulary, path


def test_a_fresh_process_continues_and_scores_as_the_trainer(exported):
    model, vocabulary, path = exported
    run = subprocess.run(
        [sys.executable, "-c", STRANGER, path, json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        cwd=path,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    generate = TextGenerator(model, vocabulary, OPTIONS)
    seeds = [OPTIONS.seed] * len(TEXTS)
    expected = [text for [text] in generate(TEXTS, seeds=seeds)]
    assert result["serving_default"]["outputs"] == expected
    measure = LineLikelihoods(model, vocabulary, BatchOptions(), False)
    np.testing.assert_allclose(
        result["score"]["log_probs"],
        [-nll.sum() for nll in measure(TEXTS)],
        rtol=1e-4,
    )
    ids = vocabulary.encode(TEXTS)
    assert result["tokenize"]["lengths"] == [len(row) for row in ids]
    experts = np.array(result["routing"]["target_experts"])
    assert experts.shape == (4, max(map(len, ids)) + 1, 1, 2)


def test_every_warmup_request_is_one_that_the_model_answers(exported):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    loaded = tf.saved_model.load(str(exported[-1]))
    records = tf.data.TFRecordDataset(str(exported[-1] / warmup.FILE))
    asked = set()
    for record in records.as_numpy_iterator():
        request = apis.PredictionLog.FromString(record).predict_log.request
        inputs = {
            name: tf.constant(tf.make_ndarray(proto))
            for name, proto in request.inputs.items()
        }
        asked.add(request.model_spec.signature_name)
        assert loaded.signatures[request.model_spec.signature_name](**inputs)
    assert asked == set(loaded.signatures)


def test_card_says_what_was_exported(exported):
    _, vocabulary, path = exported
    card = json.loads((path / "assets.extra/card.json").read_text())
    assert card["kind"] == "language model"
    assert card["sizes"]["vocabulary"] == vocabulary.vocab_size
    assert card["sizes"]["max_new_subwords"] == 256
    assert card["generate"]["max_tokens"] == 5
    assert card["figures"] == {"perplexity": 9.5}
    text = (path / "assets.extra/card.md").read_text()
    assert text.startswith("# Language model\n")
    assert "| score | output | token_log_probs | float32 | (?, ?) |" in text


def test_weights_in_8_bits_give_nearly_the_same_scores(tmp_path):
    words = make_vocabulary("words")
    # Experts of 32 * 64, LSTMs of 64 * 128: large enough to be worth it.
    model = make_model(
        words.vocab_size, depth=32, lstm_units=32, expert_hidden_dim=64
    )
    for weight in model.trainable_variables:
        weight.assign(0.2 * weight)
    path = export_language_model(model, words, tmp_path, in_8_bits=True)
    card = json.loads((path / "assets.extra/card.json").read_text())
    assert "int8" in card["sizes"]["weights_dtypes"]
    loaded = tf.saved_model.load(str(path))
    found = loaded.signatures["score"](inputs=tf.constant(LINES))
    measure = LineLikelihoods(model, words, BatchOptions(), False)
    expected = [-nll.sum() for nll in measure(LINES)]
    # Steps of 1 / 127 of the largest of a channel; half a step at the most.
    np.testing.assert_allclose(found["log_probs"], expected, rtol=0.02)
    assert np.any(found["log_probs"].numpy() != expected)
    texts = loaded.signatures["serving_default"](inputs=tf.constant(LINES))
    for text, line in zip(texts["outputs"].numpy(), LINES, strict=True):
        assert text.decode().startswith(line)
