"""A translator out to a folder, and back in a process of its own."""

import io
import json
import logging
import pathlib
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from table_model import SENTENCES, Table

from translation.search.beam_options import BeamOptions
from translation.search.translate import TextTranslator
from translation.serving import warmup
from translation.serving.export import export_translator, load_translator
from translation.serving.versions import versions
from translation.text.tokenizer.training import train_tokenizer

# What a stranger would write, without this project.
STRANGER = """
import json, sys
import tensorflow as tf
import tensorflow_text
loaded = tf.saved_model.load(sys.argv[1])
texts = tf.constant(json.loads(sys.argv[2]))
def call(name, **inputs):
    found = loaded.signatures[name](**inputs)
    return {key: found[key].numpy().tolist() for key in sorted(found)}
result = {
    name: call(name, inputs=texts)
    for name in ("serving_default", "translate_nbest", "tokenize")
}
best = tf.constant(result["serving_default"]["outputs"])
result["score"] = call("score", sources=texts, targets=best)
ids = tf.constant(result["tokenize"]["ids"])
result["detokenize"] = call("detokenize", ids=ids)
result["translate_with_options"] = call(
    "translate_with_options", inputs=texts, beam_width=tf.constant([1]),
    length_penalty=tf.constant([-1.0]), coverage_penalty=tf.constant([-1.0]),
    target_language=tf.constant(["de"]),
)
# The way of TensorFlow Serving: a session, and tensors by their names.
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = meta_graph.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    result["session"] = session.run(
        signature.outputs["outputs"].name,
        {signature.inputs["inputs"].name: json.loads(sys.argv[2])},
    ).tolist()
assert not {"moe_keras", "translation"} & sys.modules.keys()
print(json.dumps(result, default=bytes.decode))
"""


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 290, normalization="NFC")


@pytest.fixture(scope="module")
def model(tokenizer):
    return Table(tokenizer.vocab_size)


@pytest.fixture(scope="module")
def folder(tokenizer, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    export_translator(
        model,
        tokenizer,
        folder,
        BeamOptions(3),
        target_languages=["de"],
        about={"figures": {"bleu": 31.4, "signature": "nrefs:1"}},
        warmup_texts=SENTENCES,
    )
    return folder


@pytest.fixture(scope="module")
def late(tokenizer, model, tmp_path_factory):
    """An export to a folder in use, where the extra is not installed."""
    folder = tmp_path_factory.mktemp("late")
    for name in ("1", "9", "10", "x11", "unfinished-1"):
        (folder / name).mkdir()
    found, log = {}, io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("translation.serving.versions")
    logger.addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        # None in the table of modules is what a missing one amounts to.
        patch.setitem(sys.modules, "tensorflow_serving.apis", None)
        patch.setattr(
            "translation.serving.versions._flush_to_disk",
            lambda path: found.update(seen=versions(folder)),
        )
        found["path"] = export_translator(model, tokenizer, str(folder))
    logger.removeHandler(handler)
    return {**found, "log": log.getvalue()}


class TestExport:
    def test_a_fresh_process_gives_the_translations_of_the_trainer(
        self, folder, tokenizer, model
    ):
        texts = [*SENTENCES, "", "Größe 😀"]
        # In another normal form than the model's: no difference comes out.
        given = [unicodedata.normalize("NFD", text) for text in texts]
        assert given != texts
        run = subprocess.run(
            [sys.executable, "-c", STRANGER, folder / "1", json.dumps(given)],
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
        assert result["session"] == best["outputs"]
        several = result["translate_nbest"]
        assert [row[0] for row in several["outputs"]] == best["outputs"]
        assert np.shape(several["scores"]) == (6, 3)
        assert several["lengths"][4] == [0, 0, 0]  # of the empty text
        assert result["detokenize"]["outputs"] == texts
        assert result["score"]["lengths"][4] == 1  # the end mark
        greedy = result["translate_with_options"]["outputs"]
        expected = TextTranslator(model, tokenizer, BeamOptions(1))(texts)
        assert [row[0] for row in greedy] == [x.text for x in expected]
        assert all(row[1:] == ["", ""] for row in greedy)

    def test_the_newest_version_is_loaded(self, late, tokenizer, model):
        path = late["path"]
        assert path.name == "11" and versions(path.parent) == [1, 9, 10, 11]
        loaded = load_translator(path.parent)
        assert loaded.path == path
        expected = TextTranslator(model, tokenizer)(SENTENCES)
        for one, other in zip(loaded(SENTENCES), expected, strict=True):
            assert one.text == other.text
            np.testing.assert_allclose(one.score, other.score, rtol=1e-5)

    def test_no_version_is_seen_before_it_is_complete(self, late):
        assert late["seen"] == [1, 9, 10]
        assert (late["path"] / "assets.extra/card.json").is_file()
        assert late["path"].stat().st_mode & 0o777 == 0o755
        assert sorted(p.name for p in late["path"].parent.iterdir()) == sorted(
            ["1", "9", "10", "11", "x11", "unfinished-1"]
        )

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


class TestWarmup:
    def test_every_request_is_one_that_the_model_answers(self, folder):
        apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
        loaded = tf.saved_model.load(str(folder / "1"))
        records = tf.data.TFRecordDataset(str(folder / "1" / warmup.FILE))
        asked = set()
        for record in records.as_numpy_iterator():
            log = apis.PredictionLog.FromString(record)
            request = log.predict_log.request
            inputs = {
                name: tf.constant(tf.make_ndarray(proto))
                for name, proto in request.inputs.items()
            }
            name = request.model_spec.signature_name
            assert loaded.signatures[name](**inputs)
            asked.add((name, len(next(iter(inputs.values())))))
        assert {name for name, _ in asked} == set(loaded.signatures)
        sizes = {size for name, size in asked if name == "serving_default"}
        assert sizes == {1, 8, 64}

    def test_without_the_package_the_export_says_so_and_goes_on(self, late):
        assert "pip install 'moe-keras[serving]'" in late["log"]
        assert not (late["path"] / warmup.FILE).exists()


class TestCard:
    def test_it_says_what_was_exported(self, folder, tokenizer):
        card = json.loads((folder / "1/assets.extra/card.json").read_text())
        size = tokenizer.vocab_size
        assert card["sizes"]["parameters"] == 2 * size**2
        assert card["sizes"]["bytes"] > 4 * 2 * size**2
        assert card["sizes"]["vocabulary"] == size
        assert card["search"]["beam_width"] == 3
        assert card["target_languages"] == ["de"]
        assert card["figures"] == {"bleu": 31.4, "signature": "nrefs:1"}
        loaded = tf.saved_model.load(str(folder / "1"))
        assert set(card["signatures"]) == set(loaded.signatures)
        for name, described in card["signatures"].items():
            function = loaded.signatures[name]
            _, inputs = function.structured_input_signature
            outputs = function.structured_outputs
            for side, specs in ("inputs", inputs), ("outputs", outputs):
                assert described[side] == {
                    key: {
                        "dtype": spec.dtype.name,
                        "shape": spec.shape.as_list(),
                    }
                    for key, spec in specs.items()
                }

    def test_people_can_read_it(self, folder):
        text = (folder / "1/assets.extra/card.md").read_text()
        assert "- bleu: 31.4\n- signature: nrefs:1" in text
        assert (
            "| translate_nbest | output | scores | float32 | (?, 3) |" in text
        )
