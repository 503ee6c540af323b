"""Starts a run from the weights of another one: fine-tuning, new domains.

Weights, vocabulary, languages and sizes come from a model folder: that of a
run, or of a mean of checkpoints. From a model of several directions a run may
learn some of them, or others between its languages; where it has one target
language, it drops the token that tells it. Optimizer, counters and the search
for the best start fresh, and the run has its own corpora. Once it has begun,
the run has a copy of everything it took, so that the other folder may move or
go.
"""

import dataclasses

from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.config.overrides import field_paths
from trainers.engine.folder.files import FolderError
from trainers.translator.fields import identity
from trainers.translator.folder import ModelFolder
from translation.text.directions import parse_directions

# Fields that come with the weights.
TAKEN = ("pair", "vocabulary_type", "normalization", "precision", "model")


def started_from(config, init_from, model_dir=None):
    """Makes the configuration of a run that starts from another model.

    Args:
        config: `NmtConfig` with all else, such as a preset.
        init_from: str. The folder of that model.
        model_dir: str or path of the run's own folder, or None. Once it has
            begun, the other one is not needed.

    Returns:
        `NmtConfig`, whose languages and sizes are those of the model.

    Raises:
        FolderError: if there is no such model.

    Example:

    >>> import tempfile
    >>> from trainers.translator.presets import PRESETS
    >>> folder = ModelFolder(tempfile.mkdtemp())
    >>> folder.save_config(PRESETS["multi30k"])
    >>> config = started_from(PRESETS["phrasebook"], str(folder.path))
    >>> config.model.depth, config.loop.steps
    (192, 900)
    """
    there = ModelFolder(init_from)
    if model_dir is not None:
        own = ModelFolder(model_dir)
        if own.has_config() and own.load_config().init_from == init_from:
            there = own
    model = there.load_config()
    taken = {name: getattr(model, name) for name in TAKEN}
    return dataclasses.replace(config, init_from=init_from, **taken)


def check_initial(config):
    """Refuses a model that a configuration cannot start from.

    Raises:
        FolderError: if the model does not know the languages, or there is no
            such model.
        ValueError: if the configuration names another vocabulary.
    """
    there = ModelFolder(config.init_from).load_config()
    if not _are_known(parse_directions(config.pair), there.pair):
        raise FolderError(
            f"The model in {config.init_from} translates {there.pair}. A run "
            "from its weights does too; that of several directions may learn "
            "some of them, or others between the same source and target "
            f"languages. Received: pair={config.pair}"
        )
    if config.tokenizer_model:
        raise ValueError(
            "A run that starts from another model has its vocabulary: leave "
            f"out `tokenizer_model`. Received: {config.tokenizer_model!r}"
        )


def _are_known(directions, pair):
    """Whether a model of `pair` knows the languages of the directions."""
    there = parse_directions(pair)
    if there.is_one:
        return directions == there
    return {*directions.sources} <= {*there.sources} and {
        *directions.targets
    } <= {*there.targets}


def load_initial_weights(config, model):
    """Puts the best weights of the folder `init_from` into a model.

    Args:
        config: `NmtConfig` of the run that starts.
        model: Its `Translator`, built.

    Raises:
        FolderError: if there are none, or they do not fit; it names the fields
            that differ.
        CheckpointError: if they are damaged.
    """
    source = ModelFolder(config.init_from)
    there = source.load_config()
    try:
        known = identity(there, source.load_tokenizer())
        source.load_weights(model, known)
    except CheckpointError as error:
        old, new = field_paths(there.model), field_paths(config.model)
        differing = ", ".join(
            f"{name} (there {old[name]!r}, now {new[name]!r})"
            for name in new
            if old[name] != new[name]
        )
        if not differing:
            raise
        raise FolderError(
            f"The weights in {source.path} are of another model: {differing}. "
            f"Leave out what sets these fields. {error}"
        ) from error
