"""Experts of subwords, against the layers called on their own."""

import pathlib
import re
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import moe_keras
from moe_keras import monitoring
from translation.model.config import TranslatorConfig
from translation.model.translator import Translator
from translation.search.beam_options import BeamOptions
from translation.search.ensemble import Ensemble
from translation.search.translate import translate_batch
from translation.serving.routing import route_batch
from translation.serving.served import ServedTranslator
from translation.text.special_ids import BOS_ID
from translation.text.tokenizer.training import train_tokenizer

SOURCE = np.array([[5, 6, 7, 2], [8, 2, 0, 0]])
TARGET = np.array([[9, 4, 2], [7, 2, 0]])


def random_model(seed=1, **changes):
    keras.utils.set_random_seed(seed)
    config = TranslatorConfig(
        depth=8,
        lstm_units=8,
        attention_units=8,
        expert_hidden_dim=8,
        **(
            {"vocab_size": 12, "num_experts": 4, "encoder_moe_after": (1, 2)}
            | changes
        ),
    )
    model = Translator(config)
    model.build()
    rng = np.random.default_rng(seed)  # untrained gates send all one way
    for weight in model.trainable_variables:
        weight.assign(weight + 0.5 * rng.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return random_model()


def expected_of(model):
    """Routing of a call with teacher forcing, by layer name."""
    target_in = np.array([[BOS_ID, 9, 4], [BOS_ID, 7, 0]])
    with monitoring.collected_routing(model) as calls:
        model({"source": SOURCE, "target_in": target_in})
    return {
        x.layer.name: (x.expert_index.numpy(), x.gate.numpy()) for x in calls
    }


def check(side, expected, lengths):
    for place, name in enumerate(side.layers):
        experts, gates = expected[name]
        for row, length in enumerate(lengths):
            np.testing.assert_array_equal(
                side.expert_index[row, :length, place], experts[row, :length]
            )
            np.testing.assert_allclose(
                side.gate[row, :length, place],
                gates[row, :length],
                atol=1e-5,
            )
            assert np.all(side.expert_index[row, length:, place] == -1)
            assert np.all(side.gate[row, length:, place] == 0)


def test_steps_have_the_experts_and_gates_of_the_call(model):
    expected = expected_of(model)
    kept = {}

    @tf.function(autograph=False)
    def in_graph(source_ids, target_ids):
        kept["found"] = found = route_batch(model, source_ids, target_ids)
        return [
            (side.expert_index, side.gate)
            for side in (found.source, found.target)
        ]

    sides = in_graph(SOURCE.astype("int32"), TARGET.astype("int32"))
    found = kept["found"]
    assert found.source.layers == ["encoder_moe_1_layer", "encoder_moe_2_layer"]
    assert found.target.layers == ["decoder_moe_1_layer"]
    assert set(expected) == {*found.source.layers, *found.target.layers}
    assert found.source.num_experts == [4, 4]
    for side, tensors, lengths in zip(
        (found.source, found.target), sides, ([4, 2], [3, 2]), strict=True
    ):
        experts, gates = tensors
        check(
            side._replace(expert_index=experts, gate=gates), expected, lengths
        )
        # Tokens go different ways, so this compares something.
        assert len(np.unique(experts[0])) > 2


def test_alignments_are_those_of_the_search(model):
    hypotheses = translate_batch(model, SOURCE, return_alignments=True)
    ids = hypotheses.ids[:, 0]
    found = route_batch(model, SOURCE, ids)
    np.testing.assert_allclose(
        found.alignments, hypotheses.alignments[:, 0], atol=1e-5
    )


def test_nothing_is_counted(model):
    for layer in monitoring.routing_layers(model):
        layer.reset_routing_statistics()
    route_batch(model, SOURCE, TARGET)
    for layer in monitoring.routing_layers(model):
        assert layer.routing_statistics().tokens == 0


def test_layers_with_fewer_experts_per_token_are_filled_up():
    members = [random_model(1), random_model(2, experts_per_token=3)]
    found = route_batch(Ensemble(members), SOURCE, TARGET)
    assert found.target.layers == [
        "0/decoder_moe_1_layer",
        "1/decoder_moe_1_layer",
    ]
    assert found.target.expert_index.shape == (2, 3, 2, 3)
    for number, member in enumerate(members):
        k = 2 + number
        for name, (experts, gates) in expected_of(member).items():
            side = found.source if "encoder" in name else found.target
            place = side.layers.index(f"{number}/{name}")
            np.testing.assert_array_equal(
                side.expert_index[0, :, place, :k], experts[0]
            )
            np.testing.assert_allclose(
                side.gate[0, :, place, :k], gates[0], atol=1e-5
            )
            assert np.all(side.expert_index[:, :, place, k:] == -1)


def test_a_model_without_experts_has_tokens_and_no_layers():
    class Even:
        def encode(self, source_ids):
            return (), tf.zeros(tf.shape(source_ids))

        def step(self, ids, state, memory):
            return tf.zeros([tf.shape(ids)[0], 12]), state + 1.0

        def alignment(self, state):
            return state

    found = route_batch(Even(), SOURCE, TARGET)
    assert found.source.layers == found.target.layers == []
    assert found.source.gate.shape == (2, 4, 0, 0)
    assert found.target.expert_index.shape == (2, 3, 0, 0)
    assert found.alignments.shape == (2, 3, 4)
    nothing = route_batch(Even(), SOURCE, np.zeros([2, 0]))
    assert nothing.alignments.shape == (2, 0, 4)


@pytest.fixture(scope="module")
def large():
    """A model with the vocabulary of the tokenizer."""
    return random_model(vocab_size=280)


@pytest.fixture(scope="module")
def tokenizer(large):
    # After the model: `set_random_seed` clears the kernels of TensorFlow, and
    # with them what tensorflow-text keeps of a tokenizer.
    return train_tokenizer(["a small dog", "the dog sleeps", "oh"], 280)


@pytest.fixture(scope="module")
def served(large, tokenizer):
    return ServedTranslator(
        large, tokenizer, BeamOptions(3, max_length_extra=4)
    )


@pytest.fixture(scope="module")
def signature(served):
    specs = [tf.TensorSpec([None], tf.string)]
    return tf.function(served.routing, specs, autograph=False)


class TestSignature:
    TEXTS = ["a small dog", "", "oh", "the dog sleeps"]

    @pytest.mark.slow
    def test_it_gives_the_experts_of_each_subword(
        self, served, signature, large, tokenizer
    ):
        found = signature(tf.constant(self.TEXTS))
        best = served.translate(tf.constant(self.TEXTS))
        np.testing.assert_array_equal(found["outputs"], best["outputs"])
        np.testing.assert_allclose(found["scores"], best["scores"], rtol=1e-4)
        for place, text in enumerate(self.TEXTS):
            ids = [*tokenizer.encode([text])[0], 2]
            count = found["source_lengths"][place].numpy()
            assert count == len(ids)
            tokens = [x.decode() for x in found["source_tokens"][place].numpy()]
            assert tokens[:count] == tokenizer.pieces(ids)
            assert not any(tokens[count:])
            length = found["target_lengths"][place].numpy()
            pieces = found["target_tokens"][place, :length].numpy()
            if not text:
                assert length == 0
                continue
            vocabulary = {
                piece: i
                for i, piece in enumerate(
                    tokenizer.pieces(range(tokenizer.vocab_size))
                )
            }
            written = [[vocabulary[x.decode()] for x in pieces]]
            alone = route_batch(large, [ids], written)
            for side, sizes in (("source", count), ("target", length)):
                expected = getattr(alone, side)
                np.testing.assert_array_equal(
                    found[f"{side}_experts"][place, :sizes],
                    expected.expert_index[0],
                )
                np.testing.assert_allclose(
                    found[f"{side}_gates"][place, :sizes],
                    expected.gate[0],
                    atol=1e-4,
                )
                names = [
                    x.decode() for x in found[f"{side}_layers"][place].numpy()
                ]
                assert names == expected.layers
                assert np.all(found[f"{side}_num_experts"] == 4)
            np.testing.assert_allclose(
                found["alignments"][place, :length, :count],
                alone.alignments[0],
                atol=1e-4,
            )

    def test_the_example_of_the_page_prints_a_line_for_each_subword(
        self, signature, tokenizer, monkeypatch, capsys
    ):
        page = pathlib.Path(moe_keras.__file__).parents[1] / "docs/serving.md"
        blocks = re.findall(
            r"```python no-run\n(.*?)```", page.read_text(), re.S
        )
        (block,) = (x for x in blocks if 'signatures["routing"]' in x)
        loaded = types.SimpleNamespace(
            signatures={"routing": lambda inputs: signature(inputs)}
        )
        monkeypatch.setattr(tf.saved_model, "load", lambda path: loaded)
        exec(block, {})
        lines = capsys.readouterr().out.splitlines()
        pieces = tokenizer.pieces(tokenizer.encode(["Yes, please."])[0])
        assert [x.split()[0] for x in lines] == [*pieces, "</s>"]

    def test_a_blank_and_an_empty_batch_have_no_translation(self, signature):
        blank = signature(tf.constant([" "]))
        assert blank["outputs"].numpy().tolist() == [b""]
        assert blank["target_lengths"].numpy().tolist() == [0]
        assert np.all(blank["target_experts"] == -1)
        nothing = signature(tf.zeros([0], tf.string))
        assert all(len(value) == 0 for value in nothing.values())
