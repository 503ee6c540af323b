"""Signatures of a served translator that writes several languages."""

import json

import numpy as np
import pytest
import tensorflow as tf
from table_model import SENTENCES, Table

from translation.search.beam_options import BeamOptions
from translation.search.score import TextScorer
from translation.search.translate import TextTranslator
from translation.serving.export import export_translator, load_translator
from translation.serving.served import ServedTranslator
from translation.serving.served_model import NO_SCORE
from translation.serving.signatures import SIGNATURES
from translation.text.tokenizer.training import train_tokenizer

LANGUAGES = ("fr", "de", "pt-BR")
OPTIONS = BeamOptions(3)
# A signature, and what its texts are called.
ASKED = {
    name: "sources" if name == "score" else "inputs"
    for name in SIGNATURES
    if name not in ("tokenize", "detokenize")
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 290).with_targets(LANGUAGES)


@pytest.fixture(scope="module")
def model(tokenizer):
    """Says what the first subword of a source, its language, decides."""
    return Table(tokenizer.vocab_size)


@pytest.fixture(scope="module")
def served(tokenizer, model):
    return ServedTranslator(model, tokenizer, OPTIONS, 50, LANGUAGES)


@pytest.fixture(scope="module")
def signatures(served):
    return served.signatures()


@pytest.fixture(scope="module")
def folder(tokenizer, model, tmp_path_factory):
    """The folder of an exported version."""
    folder = tmp_path_factory.mktemp("export")
    export_translator(model, tokenizer, folder, OPTIONS, 50, LANGUAGES)
    return folder / "1"


def inputs_of(name, texts, languages):
    """Inputs of any signature that is told the language; defaults else."""
    others = {
        tf.float32: tf.constant([-1.0]),
        tf.int32: tf.constant([0]),
        tf.string: tf.constant([""]),
    }
    found = {spec.name: others[spec.dtype] for spec in SIGNATURES[name][1]}
    found[ASKED[name]] = tf.constant(texts, tf.string)
    if name == "score":
        found["targets"] = tf.constant(["dog"] * len(texts), tf.string)
    languages = [languages] if isinstance(languages, str) else languages
    return found | {"target_language": tf.constant(languages, tf.string)}


def call(signatures, name, texts, languages):
    found = signatures[name](**inputs_of(name, texts, languages))
    return {name: x.numpy() for name, x in found.items()}


class TestLanguages:
    def test_each_string_gets_its_own(self, signatures, tokenizer, model):
        translate = TextTranslator(model, tokenizer, OPTIONS)
        texts = [SENTENCES[1]] * 3
        found = call(signatures, "serving_default", texts, LANGUAGES)
        expected = translate(texts, targets=list(LANGUAGES))
        assert [x.decode() for x in found["outputs"]] == [
            x.text for x in expected
        ]
        np.testing.assert_allclose(
            found["scores"], [x.score for x in expected], rtol=1e-5
        )
        assert len({*found["outputs"].tolist()}) == 3

    @pytest.mark.parametrize("name", ASKED)
    def test_one_for_all_and_batch_mates_change_nothing(self, signatures, name):
        texts = [*SENTENCES, "", "\u3000", "x" * 999]
        mixed = [LANGUAGES[i % 3] for i in range(len(texts))]
        together = call(signatures, name, texts, mixed)
        for language in LANGUAGES:
            all_of_one = call(signatures, name, texts, language)
            for output, values in all_of_one.items():
                for place in (i for i, x in enumerate(mixed) if x == language):
                    other = together[output][place]
                    width = tuple(map(slice, np.shape(values[place])))
                    other = other[width] if width else other
                    if values.dtype == object:
                        assert np.all(other == values[place])
                    else:
                        np.testing.assert_allclose(
                            other, values[place], rtol=1e-4, atol=1e-5
                        )

    @pytest.mark.parametrize("name", ASKED)
    def test_the_empty_one_is_the_first(self, signatures, name):
        texts = SENTENCES[:2]
        empty = call(signatures, name, texts, "")
        first = call(signatures, name, texts, LANGUAGES[0])
        for output, values in empty.items():
            assert np.all(values == first[output]), output

    @pytest.mark.parametrize("name", ASKED)
    def test_an_unknown_one_gives_nothing(self, signatures, name):
        unknown = ["xx", "FR", "<2fr>", "fr ", b"\xff"]
        texts = [SENTENCES[0]] * 5
        found = call(
            signatures, name, [*texts, *texts], [*unknown, *["de"] * 5]
        )
        for output, values in found.items():
            if output.endswith(("layers", "num_experts")):
                continue
            nothing, something = np.split(values, 2)
            expected = {"scores": NO_SCORE, "log_probs": NO_SCORE}.get(
                output, b"" if values.dtype == object else 0
            )
            if output.endswith("experts"):
                expected = -1
            assert np.all(nothing == expected), output
            if output in ("outputs", "scores", "lengths"):
                assert np.all(something[..., :1] != expected), output

    @pytest.mark.parametrize("name", ASKED)
    def test_an_empty_batch(self, signatures, name):
        for languages in ([], "de"):
            found = call(signatures, name, [], languages)
            assert all(len(values) == 0 for values in found.values())

    def test_tokens_of_languages_are_read_first_and_never_written(
        self, signatures, tokenizer
    ):
        size = tokenizer.vocab_size
        assert [*tokenizer.targets.values()] == [size - 3, size - 2, size - 1]
        found = call(signatures, "routing", SENTENCES[:3], LANGUAGES)
        assert [row[0].decode() for row in found["source_tokens"]] == [
            f"<2{language}>" for language in LANGUAGES
        ]
        # Everything that the beam found, of a model for which every subword
        # is likely somewhere.
        n_best = call(signatures, "translate_nbest", SENTENCES * 3, "de")
        for text in n_best["outputs"].ravel():
            assert b"<2" not in text

    def test_length_counts_the_language(self, served, tokenizer):
        long = tf.constant(["dog " * 1000])
        ids = served.source_ids(long, tf.constant(["de"]))
        assert ids.shape == (1, 50)
        assert ids[0, 0] == tokenizer.targets["de"] and ids[0, -1] == 2

    def test_scores_are_those_of_the_search_and_of_python(
        self, signatures, tokenizer, model
    ):
        scorer = TextScorer(model, tokenizer, OPTIONS)
        asked = inputs_of("score", SENTENCES[:3], LANGUAGES)
        found = signatures["score"](**asked)
        expected = scorer(SENTENCES[:3], ["dog"] * 3, languages=LANGUAGES)
        np.testing.assert_allclose(
            found["log_probs"], [x.log_prob for x in expected], rtol=1e-4
        )
        one = scorer(SENTENCES[:3], ["dog"] * 3, languages="de")
        assert one[1].log_prob == pytest.approx(expected[1].log_prob, 1e-5)
        assert one[0].log_prob != pytest.approx(expected[0].log_prob, 1e-3)


class TestExport:
    def test_the_input_may_be_left_out_where_tensors_are_run_by_name(
        self, folder
    ):
        v1 = tf.compat.v1
        asked = {name: inputs_of(name, SENTENCES[:2], "") for name in ASKED}
        for inputs in asked.values():
            del inputs["target_language"]
        asked = tf.nest.map_structure(lambda x: x.numpy(), asked)
        with tf.Graph().as_default(), v1.Session() as session:
            saved = v1.saved_model.load(session, ["serve"], str(folder))
            for name in ASKED:
                signature = saved.signature_def[name]
                assert [*signature.defaults] == ["target_language"]
                if name not in ("serving_default", "score"):
                    continue
                given = asked[name]
                feeds = {
                    signature.inputs[key].name: values
                    for key, values in given.items()
                }
                scores = signature.outputs["scores"].name
                without = session.run(scores, feeds)
                language = signature.inputs["target_language"].name
                first = session.run(scores, feeds | {language: ["fr"]})
                np.testing.assert_array_equal(without, first)
            for name in ("tokenize", "detokenize"):
                assert not saved.signature_def[name].defaults

    def test_python_names_it(self, folder):
        loaded = load_translator(folder)
        texts = SENTENCES[:3]
        mixed = [x.text for x in loaded(texts, list(LANGUAGES))]
        for place, language in enumerate(LANGUAGES):
            assert loaded(texts, language)[place].text == mixed[place]
        assert loaded(texts)[0].text == mixed[0]

    def test_the_card_tells_the_languages_and_how_to_ask(self, folder):
        card = json.loads((folder / "assets.extra/card.json").read_text())
        assert card["target_languages"] == list(LANGUAGES)
        assert "stands for fr" in card["how_to_ask"]
        for name in ASKED:
            asked = card["signatures"][name]["inputs"]["target_language"]
            assert asked["default"] == [""]
        text = (folder / "assets.extra/card.md").read_text()
        assert "| serving_default | input | target_language, may be" in text

    def test_warm_up_asks_for_each_language(self, served):
        asked = served.warmup_requests(["Hello!"])
        assert {name for name, _ in asked} == set(SIGNATURES)
        one = [
            inputs["target_language"].numpy().tolist()
            for name, inputs in asked
            if name == "serving_default" and len(inputs["inputs"]) == 1
        ]
        assert [[x.encode()] for x in LANGUAGES] == one[-3:]
        for name, inputs in asked:
            if name in ASKED:
                rows = len(inputs[ASKED[name]])
                assert len(inputs["target_language"]) == rows

    def test_other_languages_than_the_tokenizers_are_refused(
        self, tokenizer, model
    ):
        with pytest.raises(ValueError, match="fr, de, pt-BR. Received: .*'it'"):
            ServedTranslator(model, tokenizer, target_languages=["fr", "it"])
        with pytest.raises(ValueError, match="must be at least 3"):
            ServedTranslator(model, tokenizer, OPTIONS, 2, LANGUAGES)
