"""A trained model as a server should have it."""

import dataclasses
import hashlib
import json

import keras
import numpy as np
import pytest
from model_folders import make_folder
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from small_runs import SMALL

from trainers.engine.config.overrides import with_overrides
from trainers.translator import serving
from trainers.translator.ensembles import open_translator
from trainers.translator.folder import build_translator
from trainers.translator.serving import served_model
from translation.search.beam_options import BeamOptions
from translation.search.score import score_batch
from translation.search.translate import translate_batch
from translation.text.tokenizer.tokenizer import Tokenizer

CONFIG = with_overrides(
    SMALL,
    [
        "vocab_size=40",
        "decoder_layers=2",
        "num_experts=4",
        "moe_activation=linear",
        "capacity_factor=0.5",
    ],
)
SOURCES = np.array(
    [[5, 6, 7, 8, 9, 2], [8, 2, 0, 0, 0, 0], [11, 4, 30, 2, 0, 0]]
)
OPTIONS = BeamOptions(3, length_penalty=1.0)


@pytest.fixture(scope="module")
def trained():
    """Not trained, but with gates that send tokens different ways."""
    keras.utils.set_random_seed(1)
    model = build_translator(CONFIG.model, "float32")
    rng = np.random.default_rng(2)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.5 * rng.normal(size=weight.shape))
    return model


def translate(model, sources):
    found = translate_batch(model, sources, OPTIONS)
    return found.ids[:, 0].numpy(), found.scores[:, 0].numpy()


class TestServedModel:
    @pytest.mark.slow
    def test_no_sentence_takes_the_place_of_another(self, trained):
        served = served_model(trained)
        together, scores = translate(served, SOURCES)
        for row in range(3):
            alone, score = translate(served, SOURCES[row : row + 1])
            length = alone.shape[1]
            np.testing.assert_array_equal(together[row, :length], alone[0])
            # Products of other sizes round differently, step after step.
            np.testing.assert_allclose(scores[row], score[0], rtol=1e-4)
        # With the capacity of training they do.
        crowded, crowded_scores = translate(trained, SOURCES)
        assert not np.allclose(crowded_scores, scores, rtol=1e-3)

    def test_bfloat16_gives_nearly_the_scores_of_float32(self, trained):
        targets = SOURCES[::-1]
        half = served_model(trained, "bfloat16")
        expected, found = (
            score_batch(model, SOURCES, targets).token_log_probs.numpy()
            for model in (served_model(trained), half)
        )
        # Eight bits of a mantissa are steps of 0.4 %, and there are seven
        # layers.
        difference = np.sum(np.abs(found - expected))
        assert difference < 0.03 * np.sum(np.abs(expected))
        assert np.any(found != expected)

    def test_only_gates_stay_in_float32(self, trained):
        half = served_model(trained, "bfloat16")
        for weight in half.trainable_variables:
            is_gate = "/gate/" in weight.path
            assert weight.dtype == ("float32" if is_gate else "bfloat16")

    def test_another_precision_is_refused(self, trained):
        with pytest.raises(ValueError, match="'int4'"):
            served_model(trained, "int4")


class TestCard:
    @pytest.fixture
    def card(self, tmp_path, monkeypatch):
        """What an export of some members says of itself."""

        def about(*members, **fields):
            folder = make_folder(tmp_path / "model", seeds=(1, 2), **fields)
            monkeypatch.setattr(
                serving, "export_translator", lambda *_, about, **__: about
            )
            config = folder.load_config()
            model, tokenizer = open_translator(folder, config, members)
            told = serving.export_model(
                config, folder, model, tokenizer, None, "float32"
            )
            return folder, config, told

        return about

    @pytest.mark.slow
    def test_an_ensemble_names_its_members(self, card):
        folder, _, told = card("last:2")
        assert told["ensemble"] == {
            "mean": "probabilities",
            "members": ["checkpoints/step-1", "checkpoints/step-2"],
        }
        _, _, told = card(str(folder.path), f"{folder.path}/.")
        assert told["ensemble"]["members"] == ["model", "model"]

    def test_it_names_files_without_their_folders(self, card):
        _, _, told = card(
            train="/home/me/a@2,/home/me/b.tsv@1",
            dev="~/dev",
            test="tfds:x/en-fr:test",
            tokenizer_model="/home/me/given.model",
        )
        data = told["data"]
        assert (data["train"], data["dev"]) == ("a@2,b.tsv@1", "dev")
        assert data["test"] == "tfds:x/en-fr:test"
        assert data["tokenizer_model"] == "given.model"
        assert "/home/me" not in json.dumps(told) and "~" not in str(data)

    def test_vocabulary_forgets_the_paths_of_its_corpus(self, tmp_path):
        tokenizer = make_folder(tmp_path / "model").load_tokenizer()
        proto = ModelProto.FromString(tokenizer.model_proto)
        proto.trainer_spec.input.append("/home/me/corpus.txt")
        proto.trainer_spec.model_prefix = "/home/me/vocabulary"
        named = Tokenizer(proto.SerializeToString())
        served = named.without_paths()
        assert b"/home/me" in named.model_proto
        assert b"/home/me" not in served.model_proto
        assert served.encode(["a dog"]) == named.encode(["a dog"])

    def test_every_field_of_the_configuration_is_there(self, card):
        folder, config, told = card()
        assert "ensemble" not in told
        sections = (told["data"], told["configuration"], told["training"])
        said = {name for section in sections for name in section}
        fields = set(dataclasses.asdict(config)) | set(vars(config.model))
        # The search stands on the card as it is served.
        assert fields - said == {"model", "search"}
        model = folder.tokenizer_path.read_bytes()
        digest = hashlib.sha256(model).hexdigest()
        assert told["data"]["tokenizer_sha256"] == digest
