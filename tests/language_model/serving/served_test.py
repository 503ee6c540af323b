"""What a language model's SavedModel computes, against Python."""

import pathlib
import re

import numpy as np
import pytest
import small_language_models
import tensorflow as tf
from awkward_texts import AWKWARD
from small_language_models import make_model, make_vocabulary

from language_model.batches import BatchOptions
from language_model.generate import GenerateOptions, TextGenerator
from language_model.serving.served import ServedLanguageModel
from language_model.serving.signatures import SIGNATURES
from moe_keras.monitoring import collected_routing
from trainers.language_model.evaluation import LineLikelihoods

ROOT = pathlib.Path(small_language_models.__file__).parents[1]
PROMPTS = ["the dog", "", "a cat sees it", "dog"]
OPTIONS = GenerateOptions(max_tokens=6, top_k=5, seed=3)


@pytest.fixture(scope="module", params=["words", "subwords"])
def parts(request):
    vocabulary = make_vocabulary(request.param)
    model = make_model(vocabulary.vocab_size)
    return model, vocabulary, ServedLanguageModel(model, vocabulary, OPTIONS)


def _texts(found):
    return [text.decode() for text in found["outputs"].numpy()]


def _ask(served, texts, **options):
    usual = {
        "temperature": [-1.0],
        "top_k": [-1],
        "top_p": [float("nan")],
        "max_tokens": [0],
        "seed": [OPTIONS.seed],
    }
    given = {k: tf.constant(v) for k, v in {**usual, **options}.items()}
    return served.generate_with_options(tf.constant(texts, tf.string), **given)


class TestGenerate:
    def test_default_is_what_the_generator_writes_for_each_alone(self, parts):
        model, vocabulary, served = parts
        generate = TextGenerator(model, vocabulary, OPTIONS)
        expected = [generate([prompt])[0][0] for prompt in PROMPTS]
        assert _texts(served.generate(tf.constant(PROMPTS))) == expected
        assert _texts(_ask(served, PROMPTS)) == expected

    def test_greedy_texts_are_those_of_the_generator(self, parts):
        model, vocabulary, served = parts
        options = GenerateOptions(max_tokens=4, temperature=0)
        expected = TextGenerator(model, vocabulary, options)(PROMPTS)
        found = _ask(served, PROMPTS, temperature=[0.0], max_tokens=[4])
        assert _texts(found) == [text for [text] in expected]
        assert np.all(found["lengths"].numpy() <= 5)  # and the end mark

    def test_each_string_has_options_of_its_own(self, parts):
        model, vocabulary, served = parts
        found = _ask(
            served,
            PROMPTS,
            temperature=[0.0, 2.0, 1.0, 0.5],
            top_k=[0, 7, 2, -1],
            top_p=[1.0, 0.9, 0.0, 0.5],
            max_tokens=[1, 9, 1000, 3],
            seed=[1, 2, 3, 4],
        )
        rows = (
            (0, 0.0, 0, 1.0, 1),
            (1, 2.0, 7, 0.9, 9),
            (2, 1.0, 2, 1.0, 256),  # the most that may be asked for
            (3, 0.5, 5, 0.5, 3),
        )
        for row, temperature, top_k, top_p, longest in rows:
            options = GenerateOptions(longest, temperature, top_k, top_p)
            generate = TextGenerator(model, vocabulary, options)
            [[expected]] = generate([PROMPTS[row]], seeds=[row + 1])
            assert _texts(found)[row] == expected, row

    def test_tokens_and_their_probabilities_are_those_of_score(self, parts):
        model, vocabulary, served = parts
        found = _ask(served, ["the dog"], seed=[5])
        tokens = [x.decode() for x in found["tokens"][0].numpy()]
        assert tokens[-1] == "</s>" and len(tokens) == found["lengths"][0]
        # The whole text, scored as the ids that were drawn.
        ids = vocabulary.encode(["the dog"])[0]
        names = vocabulary.pieces(range(vocabulary.vocab_size))
        drawn = [names.index(token) for token in tokens]
        logits = model(np.array([[1, *ids, *drawn[:-1]]]))[0, len(ids) :]
        log_probs = tf.nn.log_softmax(logits).numpy()
        expected = [log_probs[n, index] for n, index in enumerate(drawn)]
        # Step by step and in one go products round differently.
        np.testing.assert_allclose(
            found["token_log_probs"][0], expected, rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            found["log_probs"][0], np.sum(expected), rtol=1e-4
        )

    def test_long_prompt_is_continued_by_what_its_end_says(self, parts):
        model, vocabulary, _ = parts
        served = ServedLanguageModel(model, vocabulary, OPTIONS, max_length=4)
        text = "a dog sees a cat"
        [whole] = _texts(served.generate(tf.constant([text])))
        ids = vocabulary.encode([text])[0]
        end = vocabulary.decode([ids[-3:]])[0]
        if vocabulary.encode([end])[0] == ids[-3:]:
            [alone] = _texts(served.generate(tf.constant([end])))
            assert whole.removeprefix(text) == alone.removeprefix(end)
        assert whole.startswith(vocabulary.decode([ids])[0])


class TestScore:
    def test_scores_are_those_of_evaluation(self, parts):
        model, vocabulary, served = parts
        texts = [*PROMPTS, "the bird sees"]
        found = served.score(tf.constant(texts))
        measure = LineLikelihoods(
            model, vocabulary, BatchOptions(rows=2, time_steps=3), False
        )
        for row, nll in enumerate(measure(texts)):
            length = found["lengths"][row]
            assert length == len(nll)
            np.testing.assert_allclose(
                found["token_log_probs"][row, :length], -nll, rtol=1e-4
            )
            assert not np.any(found["token_log_probs"][row, length:])
            np.testing.assert_allclose(
                found["log_probs"][row], -nll.sum(), rtol=1e-4
            )
            ids = [*vocabulary.encode([texts[row]])[0], 2]
            tokens = [x.decode() for x in found["tokens"][row, :length].numpy()]
            assert tokens == vocabulary.pieces(ids)

    def test_begin_of_a_long_text_is_scored(self, parts):
        model, vocabulary, _ = parts
        served = ServedLanguageModel(model, vocabulary, max_length=4)
        found = served.score(tf.constant([100 * "dog "]))
        assert found["lengths"].numpy().tolist() == [4]


class TestRouting:
    def test_experts_are_those_of_the_model(self, parts):
        model, vocabulary, served = parts
        found = served.routing(tf.constant(PROMPTS))
        scored = served.score(tf.constant(PROMPTS))
        for name in ("log_probs", "token_log_probs"):
            np.testing.assert_array_equal(found[name], scored[name])
        np.testing.assert_array_equal(found["target_tokens"], scored["tokens"])
        ids = [1, *vocabulary.encode(PROMPTS[:1])[0]]
        length = len(ids)
        with collected_routing(model) as calls:
            model(np.array([ids]))
        [call] = calls
        np.testing.assert_array_equal(
            found["target_experts"][0, :length, 0], call.expert_index[0]
        )
        np.testing.assert_allclose(
            found["target_gates"][0, :length, 0], call.gate[0], rtol=1e-5
        )
        read = [x.decode() for x in found["read_tokens"][0, :length].numpy()]
        assert read == vocabulary.pieces(ids)
        assert found["target_layers"][0].numpy().tolist() == [b"moe_2_layer"]
        assert found["target_num_experts"][0].numpy().tolist() == [4]
        # Of the empty text there is the end mark alone.
        assert np.all(found["target_experts"][1, 1:] == -1)

    def test_dense_model_has_no_layers(self):
        words = make_vocabulary("words")
        model = make_model(words.vocab_size, layers=("lstm",))
        found = ServedLanguageModel(model, words).routing(tf.constant(["a"]))
        assert found["target_experts"].shape == (1, 2, 0, 0)


class TestAnyString:
    def test_empty_batch_gives_empty_tensors(self, parts):
        served = parts[-1]
        none = tf.constant([], tf.string)
        for found in (
            served.generate(none),
            _ask(served, []),
            served.score(none),
            served.routing(none),
        ):
            assert {x.shape[0] for x in found.values()} == {0}

    def test_odd_strings_have_finite_scores_and_change_no_other(self, parts):
        served = parts[-1]
        odd = [*AWKWARD, b"\xff\xfe broken", "</s> <pad> <s>", "a\u00a0b"]
        alone = served.score(tf.constant(["the dog"]))
        together = served.score(tf.constant(["the dog", *odd]))
        assert np.all(np.isfinite(together["log_probs"]))
        np.testing.assert_allclose(
            together["log_probs"][0], alone["log_probs"][0], rtol=1e-4
        )
        texts = _texts(_ask(served, ["the dog", *odd], temperature=[0.0]))
        assert texts[:1] == _texts(_ask(served, ["the dog"], temperature=[0.0]))

    def test_graph_and_python_read_the_same_words(self, parts):
        _, vocabulary, served = parts
        odd = [*AWKWARD, "</s> <pad> <s>", "a\u00a0b \u3000c\x85d\x1ce"]
        found = served.tokenize(tf.constant(odd))
        for row, ids in enumerate(vocabulary.encode(odd)):
            length = found["lengths"][row]
            assert found["ids"][row, :length].numpy().tolist() == ids
            assert 0 not in ids and 1 not in ids and 2 not in ids


def test_page_has_the_inputs_of_every_signature():
    page = ROOT / "docs/language_model.md"
    rows = re.findall(
        r"^\| `(\w+)` \| (`.*?) \|", page.read_text(), re.MULTILINE
    )
    told = {
        name: [
            (word, dtype)
            for word, dtype in re.findall(r"`(\w+)` (\w+) \(B", inputs)
        ]
        for name, inputs in rows
        if name in SIGNATURES
    }
    assert told == {
        name: [(spec.name, spec.dtype.name) for spec in specs]
        for name, (_, specs) in SIGNATURES.items()
    }
