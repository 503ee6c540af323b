"""Which models an ensemble is made of."""

import numpy as np
import pytest
from model_folders import SENTENCES, make_folder, random_model

from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.folder.files import FolderError
from trainers.translator.ensembles import open_translator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    return make_folder(path, seeds=(1, 2, 3))


def _assert_seeds(folder, models, seeds):
    """The models have the weights that these seeds give."""
    assert len(models) == len(seeds)
    for model, seed in zip(models, seeds, strict=True):
        expected = random_model(folder.load_config(), seed)
        for a, b in zip(model.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_without_members_it_is_the_best_model_itself(folder):
    model, _ = open_translator(folder, folder.load_config())
    _assert_seeds(folder, [model], [3])


def test_checkpoints_and_folders_in_the_order_given(folder, tmp_path):
    other = make_folder(tmp_path / "other", seeds=(4, 5))
    members = ["last:2", str(other.path)]
    ensemble, tokenizer = open_translator(
        folder, folder.load_config(), members, "log_probabilities"
    )
    _assert_seeds(folder, ensemble.members, [2, 3, 5])
    assert ensemble.mean == "log_probabilities"
    checkpoints = folder.path / "checkpoints"
    names = [checkpoints / "step-2", checkpoints / "step-3", other.path]
    assert ensemble.names == list(map(str, names))
    assert tokenizer.model_proto == folder.load_tokenizer().model_proto


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"sentences": SENTENCES[1:]},
            "other has another vocabulary than .*model: ",
        ),
        ({"pair": "en-de"}, "other translates en-de, .*model translates en-fr"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    folder, tmp_path, changes, message
):
    other = make_folder(tmp_path / "other", **changes).path
    with pytest.raises(FolderError, match=message):
        open_translator(folder, folder.load_config(), [str(other)])


def test_damaged_best_says_how_to_get_another(tmp_path):
    folder = make_folder(tmp_path / "model")
    (tmp_path / "model/best/step-1/ckpt.index").unlink()
    with pytest.raises(CheckpointError, match="index is missing. .* Train on"):
        open_translator(folder, folder.load_config())


def test_more_checkpoints_than_there_are_is_told(folder):
    with pytest.raises(CheckpointError, match="has 3 checkpoints, best:4 asks"):
        open_translator(folder, folder.load_config(), ["best:4"])
