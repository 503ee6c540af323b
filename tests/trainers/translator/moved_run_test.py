"""A run that goes on elsewhere, and one whose data are not what they were."""

import json
import shutil

import pytest
import small_runs
from sentencepiece import sentencepiece_model_pb2
from small_runs import PAIRS, SMALL, write_corpora

from trainers.engine.checkpoints.best import best_folder
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.overrides import with_overrides
from trainers.engine.folder.files import FolderError

pytestmark = pytest.mark.slow


def config_of(folder, *changes):
    """Evaluations are free, and there is one after each step."""
    splits = [f"{s}={folder / s}" for s in ("train", "dev", "test")]
    return with_overrides(
        SMALL, [*splits, "steps=2", "evaluate_every=1", *changes]
    )


def train(folder, *changes, scores=(), log=lambda line: None):
    """Trains on the corpora beside `run`; returns the `Loop`."""
    config = config_of(folder, *changes)
    return small_runs.train(config, folder / "run", scores, log)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder of corpora with a run of two steps, the first the best."""
    folder = tmp_path_factory.mktemp("begun") / "here"
    folder.mkdir()
    write_corpora(folder)
    train(folder, scores=(9.0, 1.0))
    return folder


@pytest.fixture
def moved(begun, tmp_path):
    """The same in another place; the first one is out of reach."""
    folder = shutil.copytree(begun, tmp_path / "there")
    aside = begun.with_name("aside")
    begun.rename(aside)
    yield folder
    aside.rename(begun)


def steps_of_best(folder):
    return [stored.step for stored in best_folder(folder / "run").stored()]


def test_best_score_and_patience_move_with_the_data(moved):
    lines = []
    loop = train(moved, "steps=3", scores=(2.0,), log=lines.append)
    assert "Resuming after step 2." in lines
    assert not any("anew" in line for line in lines)
    assert float(loop.best.score) == 9.0
    assert int(loop.best.evaluations_since) == 2
    assert steps_of_best(moved) == [1]
    config = json.loads((moved / "run/config.json").read_text())
    assert config["train"] == str(moved / "train")


def test_other_batches_are_taken_after_running_out_of_memory(moved):
    lines = []
    loop = train(
        moved, "steps=3", "tokens_per_batch=32", scores=(2.0,), log=lines.append
    )
    assert int(loop.step) == 3
    assert "Resuming after step 2." in lines
    assert any(
        "batches.tokens_per_batch (there 64, now 32). They begin anew" in line
        for line in lines
    )
    config = json.loads((moved / "run/config.json").read_text())
    assert config["batches"]["tokens_per_batch"] == 32


def test_best_weights_without_checkpoints_are_not_replaced(moved):
    shutil.rmtree(moved / "run/checkpoints")
    before = contents(moved / "run")
    with pytest.raises(FolderError) as error:
        train(moved, "steps=3", scores=(2.0, 3.0))
    for said in ("step-1 (score 9.0)", "--init_from=", "move best/ away"):
        assert said in str(error.value)
    assert contents(moved / "run") == before
    shutil.rmtree(moved / "run/best")  # now nothing can be lost
    (moved / "run/config.json").unlink()  # it knows the place before
    assert int(train(moved, "steps=1", scores=(2.0,)).step) == 1


def test_checkpoints_without_their_vocabulary_are_refused(moved):
    (moved / "run/tokenizer.model").unlink()
    before = contents(moved / "run")
    with pytest.raises(FolderError, match="tokenizer.model is missing. Put it"):
        train(moved, "steps=3")
    assert contents(moved / "run") == before


def contents(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_vocabulary_may_be_named_where_it_is_the_same(moved):
    given = shutil.copy(moved / "run/tokenizer.model", moved / "given.model")
    config = json.loads((moved / "run/config.json").read_text())
    size = config["model"]["vocab_size"]
    named = (f"tokenizer_model={given}", f"vocab_size={size}")
    train(moved, *named)
    given.unlink()  # the folder has its own
    train(moved, *named)
    spoil(moved / "run/tokenizer.model", given)
    with pytest.raises(FolderError, match="tokenizer.sha256 .there '"):
        train(moved, *named)


def spoil(model, target):
    """Writes a SentencePiece model of the same size that cuts otherwise."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.read_bytes())
    proto.pieces[-1].score -= 1.0
    target.write_bytes(proto.SerializeToString(deterministic=True))


def test_other_content_is_refused_and_the_field_named(moved):
    before = (moved / "run/config.json").read_text()
    twice = f"{moved / 'train'}@1,{moved / 'train'}@1"
    with pytest.raises(CheckpointError, match=r"train.weights \(there None"):
        train(moved, f"train={twice}", "steps=3")
    write_corpora(moved, [*PAIRS, ("a cat", "un chat")])
    with pytest.raises(
        CheckpointError, match=r"train.pairs \(there \[4\], now \[5\]\)"
    ):
        train(moved, "steps=3")
    write_corpora(moved)
    assert (moved / "run/config.json").read_text() == before
    model = moved / "run/tokenizer.model"
    spoil(model, model)
    with pytest.raises(CheckpointError, match="tokenizer.sha256 .there '"):
        train(moved, "steps=3")


def test_folder_of_an_earlier_version_goes_on(moved):
    for stored in training_folder(moved / "run").stored():
        file = stored.path / "manifest.json"
        manifest = json.loads(file.read_text())
        for fields in manifest["about"].values():
            for name in [n for n in fields if n.startswith("train.")]:
                del fields[name]
            fields.pop("tokenizer.sha256", None)
            fields.pop("dev.sha256", None)
        file.write_text(json.dumps(manifest))
    # It knows its corpus by the place alone.
    with pytest.raises(FolderError, match="train .*write its place into"):
        train(moved, "steps=3")
    file = moved / "run/config.json"
    config = json.loads(file.read_text())
    config["train"] = str(moved / "train")
    file.write_text(json.dumps(config))
    loop = train(moved, "steps=3", scores=(2.0, 3.0))
    assert int(loop.step) == 3
