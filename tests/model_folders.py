"""Model folders without a training run: what it would leave, untrained."""

import dataclasses

import numpy as np
import tensorflow as tf
from small_runs import SMALL

from trainers.engine.checkpoints.best import best_folder
from trainers.engine.checkpoints.contents import weights_by_path
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.overrides import with_overrides
from trainers.engine.loop import seed_everything
from trainers.translator.fields import identity
from trainers.translator.folder import ModelFolder, build_model
from translation.text.directions import parse_directions
from translation.text.tokenizer.training import train_tokenizer

SENTENCES = ["a small dog", "the dog sleeps", "a cat sees the small dog", "oh"]


def small_config(vocab_size, **changes):
    """`SMALL` with another vocabulary, and other fields of `NmtConfig`."""
    fields = [f"vocab_size={vocab_size}", "decoder_layers=2", "beam_width=3"]
    config = with_overrides(SMALL, [*fields, "steps=9", "keep_best=3"])
    return dataclasses.replace(config, **changes)


def make_folder(path, seeds=(1,), sentences=SENTENCES, **changes):
    """A model folder whose checkpoints have random weights.

    Args:
        path: path of the folder.
        seeds: One for each checkpoint, of steps 1, 2, ...; the last is the
            best.
        sentences: List of str, which the vocabulary is made from.
        **changes: Fields of `NmtConfig`.

    Returns:
        The `ModelFolder`.
    """
    tokenizer = train_tokenizer(sentences, 290)
    targets = parse_directions(changes.get("pair", SMALL.pair)).targets
    if len(targets) > 1:
        tokenizer = tokenizer.with_targets(targets)
    config = small_config(tokenizer.vocab_size, **changes)
    folder = ModelFolder(path)
    folder.save_config(config)
    folder.save_tokenizer(tokenizer)
    for step, seed in enumerate(seeds, start=1):
        model = random_model(config, seed)
        write = tf.train.Checkpoint(model=weights_by_path(model)).write
        about = {"identity": identity(config), "measure": {}, "score": step}
        for checkpoints in (best_folder(path), training_folder(path)):
            checkpoints.write(step, write, about)
    return folder


def random_model(config, seed):
    """A translator that has something to say, other than an untrained one."""
    seed_everything(seed)
    model = build_model(config)
    random = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.5 * random.normal(size=weight.shape))
    return model
