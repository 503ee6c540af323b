"""Opens several models as one: model folders, or checkpoints of one folder."""

from trainers.engine.checkpoints.average import choose_checkpoints
from trainers.engine.checkpoints.contents import read_weights
from trainers.engine.checkpoints.identity import check_identity
from trainers.engine.folder.files import FolderError
from trainers.translator.fields import identity
from trainers.translator.folder import ModelFolder, build_model
from translation.search.ensemble import Ensemble
from translation.text.directions import parse_directions


def open_translator(folder, config, members=(), mean="probabilities"):
    """Opens the translator of a model folder, or an ensemble.

    Args:
        folder: `ModelFolder`, whose vocabulary all members must have.
        config: `NmtConfig` of it.
        members: List of str, the models of an ensemble: other model folders,
            each with its best weights, or `best`, `last`, `best:3`, `last:5`
            for so many checkpoints of this folder. Without any, the best
            model of this folder alone.
        mean: str. See `translation.search.ensemble.Ensemble`.

    Returns:
        `(translator, tokenizer)`.

    Raises:
        FolderError: if a member has another vocabulary or language pair.
        CheckpointError: if a checkpoint is not there or cannot be used.
    """
    if not members:
        return folder.load_model(config)
    tokenizer = folder.load_tokenizer()
    models, names = [], []
    for member in members:
        if member.partition(":")[0] in ("best", "last"):
            found = _checkpoints(folder, config, tokenizer, member)
        else:
            found = [(_best_of(member, folder, config), member)]
        for model, name in found:
            models.append(model)
            names.append(name)
    return Ensemble(models, mean, names), tokenizer


def _checkpoints(folder, config, tokenizer, which):
    """Loads several checkpoints of a folder: a model and a name for each."""
    there, chosen = choose_checkpoints(folder.path, which)
    for stored in chosen:
        there.verify(stored)
        check_identity(stored, identity(config, tokenizer))
        model = build_model(config)
        read_weights(stored, model)
        yield model, str(stored.path)


def _best_of(path, folder, config):
    """Loads the best model of a folder that goes with another one."""
    member = ModelFolder(path)
    its_config = member.load_config()
    if not _are_same_directions(its_config.pair, config.pair):
        raise FolderError(
            f"{path} translates {its_config.pair}, {folder.path} translates "
            f"{config.pair}: they make no ensemble."
        )
    own, common = member.load_tokenizer(), folder.load_tokenizer()
    if own.model_proto != common.model_proto:
        raise FolderError(
            f"{path} has another vocabulary than {folder.path}: members of an "
            "ensemble must have the same tokenizer.model. Runs on one corpus "
            "with one vocab_size have; or copy the file to a new --model_dir "
            "before training begins there."
        )
    return member.load_model(its_config)[0]


def _are_same_directions(pair, other):
    """Whether two models translate alike, in whatever order it is said."""
    return {*parse_directions(pair)} == {*parse_directions(other)}
