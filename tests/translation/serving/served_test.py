"""Signatures of a served translator: odd strings, options, given targets."""

import numpy as np
import pytest
import tensorflow as tf
from table_model import SENTENCES, Table

from translation.search.beam_options import BeamOptions
from translation.search.score import TextScorer
from translation.search.translate import TextTranslator
from translation.serving.served import ServedTranslator
from translation.serving.served_model import NO_SCORE
from translation.text.tokenizer.training import train_tokenizer

ODD = [
    "",
    "  \t",
    "😀👩‍👩‍👧",
    "\x00\x07\x1b[31m",
    b"\xff\xfe dog \xed\xa0\x80",
    "犬が眠る。 الكلب نائم",
    "x" * 10_000,
    "\u2581 \ufdd0 \ufeff \u202e e\u0301",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 290)


@pytest.fixture(scope="module")
def model(tokenizer):
    return Table(tokenizer.vocab_size)


@pytest.fixture(scope="module")
def served(tokenizer, model):
    return ServedTranslator(
        model,
        tokenizer,
        BeamOptions(3),
        max_source_length=50,
        target_languages=["de"],
    )


@pytest.fixture(scope="module")
def signatures(served):
    return served.signatures()


def with_options(inputs, width=0, alpha=-1.0, beta=-1.0, language=""):
    """Inputs of `translate_with_options`; single options go for all."""
    return {
        "inputs": tf.constant(inputs, tf.string),
        "beam_width": tf.constant(np.atleast_1d(width), tf.int32),
        "length_penalty": tf.constant(np.atleast_1d(alpha), tf.float32),
        "coverage_penalty": tf.constant(np.atleast_1d(beta), tf.float32),
        "target_language": tf.constant(np.atleast_1d(language).tolist()),
    }


def constrained(inputs, prefix="", least=0, ngram=0, **options):
    """Inputs of `translate_constrained`, likewise."""
    return with_options(inputs, **options) | {
        "prefix": tf.constant([prefix] if isinstance(prefix, str) else prefix),
        "min_length": tf.constant(np.atleast_1d(least), tf.int32),
        "no_repeat_ngram_size": tf.constant(np.atleast_1d(ngram), tf.int32),
    }


class TestTranslate:
    def test_an_empty_batch_gives_empty_tensors(self, signatures):
        nothing = tf.zeros([0], tf.string)
        found = signatures["serving_default"](nothing)
        assert found["outputs"].shape == found["scores"].shape == (0,)
        found = signatures["translate_nbest"](nothing)
        assert found["outputs"].shape == (0, 3)
        found = signatures["translate_with_options"](**with_options([]))
        assert found["lengths"].shape == (0, 3)

    def test_blank_strings_give_the_empty_string(self, signatures):
        blanks = ["", "\t ", "\u00a0", "\u3000\u200b", "\ufeff", "\u2028\u0085"]
        found = signatures["serving_default"](tf.constant([*blanks, "."]))
        assert found["outputs"].numpy().tolist()[:-1] == [b""] * len(blanks)
        assert found["scores"].numpy().tolist()[:-1] == [0.0] * len(blanks)
        assert found["scores"].numpy()[-1] < 0

    def test_batch_mates_change_nothing(self, signatures):
        translate = signatures["serving_default"]
        texts = [*SENTENCES, *ODD]
        together = translate(tf.constant(texts))
        for place, text in enumerate(texts):
            alone = translate(tf.constant([text]))
            assert alone["outputs"][0] == together["outputs"][place]
            np.testing.assert_allclose(
                alone["scores"][0], together["scores"][place], rtol=1e-5
            )

    def test_odd_strings_have_defined_results(self, signatures):
        found = signatures["translate_nbest"](tf.constant(ODD))
        assert found["outputs"][:2].numpy().tolist() == [[b""] * 3] * 2
        expected = [[0.0, NO_SCORE, NO_SCORE]] * 2
        np.testing.assert_array_equal(found["scores"][:2], expected)
        assert np.all(found["lengths"][:2] == 0)
        assert np.all(found["scores"][2:, 0] > NO_SCORE)
        for output in found["outputs"].numpy().ravel():
            output.decode()  # UTF-8 throughout

    def test_a_source_is_cut_to_the_length_stated(self, served):
        ids = served.source_ids(tf.constant(["dog " * 1000, "dog", ""]))
        assert ids.shape == (3, 50)
        assert ids[0, -1] == 2 and ids[0, -2] != 2
        assert ids[2, 0] == 2


class TestSentenceOptions:
    def test_defaults_give_the_n_best(self, signatures):
        found = signatures["translate_with_options"](
            **with_options(SENTENCES, alpha=np.nan, language="de")
        )
        expected = signatures["translate_nbest"](tf.constant(SENTENCES))
        for name in ("outputs", "scores", "lengths"):
            np.testing.assert_array_equal(found[name], expected[name])

    def test_each_string_has_its_own(self, signatures, tokenizer, model):
        widths, alphas, betas = (
            [1, 2, 3, 99],
            [0.0, 1.0, 0.5, 2.0],
            [0, 1, 0, 2],
        )
        found = signatures["translate_with_options"](
            **with_options(SENTENCES, widths, alphas, betas)
        )
        for place, text in enumerate(SENTENCES):
            width = min(widths[place], 3)
            options = BeamOptions(width, width, alphas[place], betas[place])
            [expected] = TextTranslator(model, tokenizer, options).n_best(
                [text]
            )
            texts = [x.decode() for x in found["outputs"].numpy()[place]]
            scores = found["scores"].numpy()[place]
            assert texts[: len(expected)] == [x.text for x in expected]
            np.testing.assert_allclose(
                scores[: len(expected)], [x.score for x in expected], rtol=1e-5
            )
            assert np.all(scores[len(expected) :] == NO_SCORE)

    def test_an_unknown_language_has_no_translation(self, signatures):
        found = signatures["translate_with_options"](
            **with_options(SENTENCES[:3], language=["", "xx", "de"])
        )
        has_score = found["scores"][:, 0] > NO_SCORE
        assert has_score.numpy().tolist() == [True, False, True]
        assert found["outputs"][1].numpy().tolist() == [b""] * 3


class TestConstraints:
    def test_without_any_it_gives_the_n_best(self, signatures):
        found = signatures["translate_constrained"](**constrained(SENTENCES))
        expected = signatures["translate_nbest"](tf.constant(SENTENCES))
        for name in ("outputs", "scores", "lengths"):
            np.testing.assert_array_equal(found[name], expected[name])

    def test_every_translation_begins_with_the_prefix_of_its_string(
        self, signatures
    ):
        prefixes = ["the do", "", "a cat, ", "  Größe"]
        found = signatures["translate_constrained"](
            **constrained(SENTENCES, prefixes)
        )
        free = signatures["translate_nbest"](tf.constant(SENTENCES))
        for place, prefix in enumerate(prefixes):
            for text in found["outputs"][place].numpy():
                assert text.decode().startswith(prefix.strip())
        np.testing.assert_array_equal(found["outputs"][1], free["outputs"][1])
        # With these beginnings the scores are those of given translations.
        scored = signatures["score"](
            sources=tf.constant(SENTENCES), targets=found["outputs"][:, 0]
        )
        same = scored["lengths"] == found["lengths"][:, 0]
        assert np.any(same)
        np.testing.assert_allclose(
            found["scores"][:, 0][same], scored["scores"][same], rtol=1e-4
        )

    def test_lengths_and_ngrams_are_those_asked_for(self, signatures):
        least, ngrams = [0, 9, 30, 500], [2, 0, 1, 3]
        found = signatures["translate_constrained"](
            **constrained(SENTENCES, least=least, ngram=ngrams)
        )
        longest = [2 * n + 10 for n in self.source_lengths(signatures)]
        for place, (length, size) in enumerate(zip(least, ngrams, strict=True)):
            lengths = found["lengths"][place].numpy()
            assert np.all(lengths >= min(length, longest[place]))
            pieces = signatures["tokenize"](found["outputs"][place])
            for row, count in zip(
                pieces["ids"].numpy(), pieces["lengths"].numpy(), strict=True
            ):
                ids = row[:count]
                grams = [
                    tuple(ids[i : i + size]) for i in range(count - size + 1)
                ]
                # As long as the text is spelled with these subwords.
                if size and count + 1 in lengths:
                    assert len(set(grams)) == len(grams)

    def source_lengths(self, signatures):
        lengths = signatures["tokenize"](tf.constant(SENTENCES))["lengths"]
        return lengths.numpy() + 1

    def test_odd_prefixes_and_an_empty_batch(self, signatures):
        texts = ["dog"] * len(ODD)
        found = signatures["translate_constrained"](**constrained(texts, ODD))
        for text, prefix in zip(found["outputs"].numpy(), ODD, strict=True):
            if isinstance(prefix, str) and "\ufdd0" not in prefix:
                cut = prefix.strip()[:60]
                assert text[0].decode().startswith(cut)
        blank = signatures["translate_constrained"](**constrained([" "], "a"))
        assert blank["outputs"].numpy().tolist() == [[b""] * 3]
        nothing = signatures["translate_constrained"](**constrained([], "a"))
        assert nothing["outputs"].shape == (0, 3)


def drawing(inputs, heat=1.0, k=0, p=1.0, seed=1, language="", **constraints):
    """Inputs of `sample`, likewise."""
    rest = constrained(inputs, **constraints)
    for name in ("beam_width", "length_penalty", "coverage_penalty"):
        del rest[name]
    return rest | {
        "temperature": tf.constant(np.atleast_1d(heat), tf.float32),
        "top_k": tf.constant(np.atleast_1d(k), tf.int32),
        "top_p": tf.constant(np.atleast_1d(p), tf.float32),
        "seed": tf.constant(np.atleast_1d(seed), tf.int32),
        "target_language": tf.constant(np.atleast_1d(language).tolist()),
    }


class TestSample:
    def test_a_string_and_its_seed_decide_whatever_shares_the_batch(
        self, signatures
    ):
        texts, seeds = SENTENCES * 3, np.repeat([1, 2, 3], len(SENTENCES))
        together = signatures["sample"](**drawing(texts, seed=seeds))
        for place in (1, 5, 8):
            alone = signatures["sample"](
                **drawing([texts[place]], seed=seeds[place])
            )
            assert alone["outputs"][0] == together["outputs"][place]
        outputs = together["outputs"].numpy()
        assert not np.any(outputs[:4] == outputs[4:8])
        for seed, part in zip((1, 2, 3), np.split(outputs, 3), strict=True):
            again = signatures["sample"](**drawing(SENTENCES, seed=seed))
            np.testing.assert_array_equal(again["outputs"], part)

    def test_it_draws_what_python_draws(self, signatures, tokenizer, model):
        options = BeamOptions(
            sampling=True, temperature=0.5, top_p=0.9, sampling_seed=8
        )
        run = TextTranslator(model, tokenizer, options)
        found = signatures["sample"](
            **drawing(SENTENCES, heat=0.5, p=0.9, seed=8)
        )
        for place, text in enumerate(SENTENCES):
            [expected] = run([text])  # the first text has number 0
            assert found["outputs"][place].numpy().decode() == expected.text
            np.testing.assert_allclose(
                found["scores"][place], expected.score, rtol=1e-5
            )

    def test_temperature_zero_is_greedy(self, signatures):
        cold = signatures["sample"](**drawing(SENTENCES, heat=0.0))
        greedy = signatures["translate_with_options"](
            **with_options(SENTENCES, width=1)
        )
        np.testing.assert_array_equal(cold["outputs"], greedy["outputs"][:, 0])
        np.testing.assert_allclose(
            cold["scores"], greedy["scores"][:, 0], rtol=1e-5
        )

    def test_odd_values_stand_for_the_defaults(self, signatures):
        odd = signatures["sample"](
            **drawing(SENTENCES, heat=np.nan, k=-3, p=-1.0, seed=-5)
        )
        plain = signatures["sample"](**drawing(SENTENCES, seed=-5))
        np.testing.assert_array_equal(odd["outputs"], plain["outputs"])

    def test_constraints_blanks_languages_and_an_empty_batch(self, signatures):
        found = signatures["sample"](
            **drawing(
                ["dog", " ", "dog", "dog"],
                language=["", "", "xx", "de"],
                prefix=["the c", "the c", "the c", ""],
                least=[0, 0, 0, 20],
            )
        )
        texts = found["outputs"].numpy().tolist()
        assert texts[0].startswith(b"the c") and texts[1:3] == [b"", b""]
        np.testing.assert_array_equal(found["scores"][1:3], [0.0, NO_SCORE])
        np.testing.assert_array_equal(found["log_probs"][1:3], [0.0, NO_SCORE])
        assert found["lengths"][1] == found["lengths"][2] == 0
        longest = (
            2 * (signatures["tokenize"](tf.constant(["dog"]))["lengths"][0] + 1)
            + 10
        )
        assert found["lengths"][3] >= min(20, longest)
        nothing = signatures["sample"](**drawing([]))
        assert nothing["outputs"].shape == (0,)


class TestRouting:
    def test_a_model_without_experts_has_subwords_and_attention(
        self, signatures
    ):
        found = signatures["routing"](tf.constant(SENTENCES))
        best = signatures["serving_default"](tf.constant(SENTENCES))
        np.testing.assert_array_equal(found["outputs"], best["outputs"])
        assert found["source_experts"].shape[2:] == (0, 0)
        assert found["target_layers"].shape == (4, 0)
        for place, length in enumerate(found["target_lengths"].numpy()):
            tokens = found["target_tokens"][place].numpy()
            assert tokens[length - 1] == b"</s>" and not any(tokens[length:])
            weights = found["alignments"][place, :length].numpy()
            np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-5)


class TestScore:
    def test_it_is_the_score_of_python(self, signatures, tokenizer, model):
        targets = ["the dog", "", "a small dog sleeps", "oh"]
        found = signatures["score"](
            sources=tf.constant(SENTENCES), targets=tf.constant(targets)
        )
        scorer = TextScorer(model, tokenizer, BeamOptions(3))
        for row, expected in enumerate(scorer(SENTENCES, targets)):
            length = len(expected.tokens)
            assert found["lengths"][row] == length
            tokens = [x.decode() for x in found["tokens"].numpy()[row]]
            padding = [""] * (len(tokens) - length)
            assert tokens == expected.tokens + padding
            for name, value in (
                ("scores", expected.score),
                ("log_probs", expected.log_prob),
            ):
                np.testing.assert_allclose(found[name][row], value, rtol=1e-5)
            logs = found["token_log_probs"].numpy()[row]
            np.testing.assert_allclose(
                logs, np.pad(expected.token_log_probs, (0, len(padding))), 1e-5
            )

    def test_odd_pairs_have_finite_scores_and_an_empty_batch_none(
        self, signatures
    ):
        found = signatures["score"](
            sources=tf.constant(ODD), targets=tf.constant(ODD[::-1])
        )
        assert np.all(np.isfinite(found["scores"]))
        assert found["lengths"][1] == 110  # 2 * 50 + 10, of 10,000 characters
        nothing = tf.zeros([0], tf.string)
        found = signatures["score"](sources=nothing, targets=nothing)
        assert found["scores"].shape == (0,)


class TestTokenize:
    def test_what_is_utf_8_comes_back(self, signatures):
        texts = [x for x in ODD if isinstance(x, str) and "\ufdd0" not in x]
        found = signatures["tokenize"](tf.constant(texts))
        back = signatures["detokenize"](found["ids"])["outputs"]
        assert [x.decode() for x in back.numpy()] == texts
        lengths = np.count_nonzero(found["ids"], axis=1)
        np.testing.assert_array_equal(found["lengths"], lengths)

    def test_empty_batches_and_unknown_ids(self, signatures):
        found = signatures["tokenize"](tf.zeros([0], tf.string))
        assert found["lengths"].shape == (0,)
        ids = tf.constant([[-5, 0, 99_999, 2, 8], [2, 1, 3, 0, 0]])
        back = signatures["detokenize"](ids)["outputs"]
        assert back.numpy().tolist() == [b"", b""]
        empty = signatures["detokenize"](tf.zeros([0, 0], tf.int32))
        assert empty["outputs"].shape == (0,)
