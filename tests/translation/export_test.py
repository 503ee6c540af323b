"""A translator out to a folder, and back in a process of its own."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from translation.beam_options import BeamOptions
from translation.export import (
    ServedTranslator,
    export_translator,
    load_translator,
    versions,
)
from translation.tokenizer import train_tokenizer
from translation.translate import TextTranslator

SENTENCES = ["a small dog", "the dog sleeps", "a cat sees the small dog", "oh"]

# What a stranger would write, without this project.
STRANGER = """
import json, sys
import tensorflow as tf
import tensorflow_text
loaded = tf.saved_model.load(sys.argv[1])
result = {}
for name in ("serving_default", "translate_nbest"):
    found = loaded.signatures[name](inputs=tf.constant(json.loads(sys.argv[2])))
    result[name] = {key: found[key].numpy().tolist() for key in sorted(found)}
assert not {"moe_keras", "translation"} & sys.modules.keys()
print(json.dumps(result, default=bytes.decode))
"""


class Table(tf.Module):
    """Next subwords from a table, by the last one and the source's first."""

    def __init__(self, vocab_size):
        super().__init__()
        rng = np.random.default_rng(1)
        self.by_last = tf.Variable(
            3 * rng.normal(size=(vocab_size, vocab_size)).astype("float32")
        )
        self.by_source = tf.Variable(
            5 * rng.normal(size=(vocab_size, vocab_size)).astype("float32")
        )

    def encode(self, source_ids):
        return source_ids, tf.zeros(tf.shape(source_ids))

    def step(self, ids, state, memory):
        real = tf.cast(memory > 0, tf.float32)
        alignment = real / tf.reduce_sum(real, axis=1, keepdims=True)
        by_source = tf.gather(self.by_source, memory[:, 0])
        return tf.gather(self.by_last, ids) + by_source, alignment

    def alignment(self, state):
        return state


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 290)


@pytest.fixture(scope="module")
def model(tokenizer):
    return Table(tokenizer.vocab_size)


@pytest.fixture(scope="module")
def folder(tokenizer, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    export_translator(model, tokenizer, folder, BeamOptions(3))
    return folder


@pytest.fixture(scope="module")
def served(tokenizer, model):
    return ServedTranslator(
        model, tokenizer, BeamOptions(3), max_source_length=50
    )


@pytest.fixture(scope="module")
def signatures(served):
    return served.signatures()


class TestExport:
    def test_a_fresh_process_gives_the_translations_of_the_trainer(
        self, folder, tokenizer, model
    ):
        texts = [*SENTENCES, "", "Größe 😀"]
        run = subprocess.run(
            [sys.executable, "-c", STRANGER, folder / "1", json.dumps(texts)],
            capture_output=True,
            text=True,
            cwd=folder,
        )
        assert run.returncode == 0, run.stderr
        result = json.loads(run.stdout)
        expected = TextTranslator(model, tokenizer, BeamOptions(3))(texts)
        best = result["serving_default"]
        assert best["outputs"] == [x.text for x in expected]
        np.testing.assert_allclose(
            best["scores"], [x.score for x in expected], rtol=1e-5
        )
        several = result["translate_nbest"]
        assert [row[0] for row in several["outputs"]] == best["outputs"]
        assert np.shape(several["scores"]) == (6, 3)
        assert several["lengths"][4] == [0, 0, 0]  # of the empty text

    def test_the_newest_version_is_loaded(self, tokenizer, model, tmp_path):
        for name in ("1", "9", "10", "x11", "unfinished-1"):
            (tmp_path / name).mkdir()
        path = export_translator(model, tokenizer, str(tmp_path))
        assert path == tmp_path / "11"
        assert versions(tmp_path) == [1, 9, 10, 11]
        loaded = load_translator(tmp_path)
        assert loaded.path == path
        expected = TextTranslator(model, tokenizer)(SENTENCES)
        for one, other in zip(loaded(SENTENCES), expected, strict=True):
            assert one.text == other.text
            np.testing.assert_allclose(one.score, other.score, rtol=1e-5)

    def test_a_failed_export_leaves_nothing_behind(
        self, tokenizer, tmp_path, monkeypatch
    ):
        def fail(module, path, **kwargs):
            (pathlib.Path(path) / "half").write_text("written")
            raise OSError("No space left on device")

        monkeypatch.setattr(tf.saved_model, "save", fail)
        with pytest.raises(OSError, match="No space"):
            export_translator(Table(300), tokenizer, tmp_path / "new")
        assert list((tmp_path / "new").iterdir()) == []

    def test_a_folder_without_versions_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="`path`"):
            load_translator(tmp_path)

    def test_texts_are_loaded_in_batches_in_their_order(self, folder):
        texts = SENTENCES * 3
        few = load_translator(folder, batch_size=5)(texts)
        assert [x.text for x in few[4:8]] == [x.text for x in few[:4]]
        assert load_translator(folder)([]) == []


class TestServedTranslator:
    def test_an_empty_batch_gives_empty_tensors(self, signatures):
        nothing = tf.zeros([0], tf.string)
        found = signatures["serving_default"](nothing)
        assert found["outputs"].shape == found["scores"].shape == (0,)
        found = signatures["translate_nbest"](nothing)
        assert found["outputs"].shape == (0, 3)

    def test_batch_mates_change_nothing(self, signatures):
        translate = signatures["serving_default"]
        odd = ["", "  ", "😀", "\x00\x07", b"\xff\xfe dog", "very long " * 5000]
        together = translate(tf.constant([*SENTENCES, *odd]))
        for place, text in enumerate(SENTENCES):
            alone = translate(tf.constant([text]))
            assert alone["outputs"][0] == together["outputs"][place]
            np.testing.assert_allclose(
                alone["scores"][0], together["scores"][place], rtol=1e-5
            )
        assert together["outputs"][4] == together["outputs"][5] == b""
        assert together["scores"][4] == together["scores"][5] == 0
        for output in together["outputs"].numpy():
            output.decode()  # UTF-8 throughout

    def test_a_source_is_cut_to_the_length_stated(self, served):
        ids = served.source_ids(tf.constant(["dog " * 1000, "dog", ""]))
        assert ids.shape == (3, 50)
        assert ids[0, -1] == 2 and ids[0, -2] != 2
        assert ids[2, 0] == 2
