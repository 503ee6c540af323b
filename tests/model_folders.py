"""Model folders without a training run: what it would leave, untrained."""

import numpy as np
import tensorflow as tf

from trainers.engine.checkpoints.best import best_folder
from trainers.engine.checkpoints.contents import weights_by_path
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.loop import seed_everything
from trainers.translator.fields import identity
from trainers.translator.folder import ModelFolder, build_model
from trainers.translator.presets import NmtConfig
from translation.model.config import TranslatorConfig
from translation.search.beam_options import BeamOptions
from translation.text.tokenizer.training import train_tokenizer

SENTENCES = ["a small dog", "the dog sleeps", "a cat sees the small dog", "oh"]


def small_config(vocab_size, **changes):
    values = {
        "model": TranslatorConfig(
            vocab_size=vocab_size,
            depth=8,
            lstm_units=8,
            encoder_layers=2,
            encoder_moe_after=(1,),
            num_experts=2,
            expert_hidden_dim=8,
            attention_units=8,
        ),
        "loop": LoopConfig(steps=9, keep_best=3),
        "search": BeamOptions(beam_width=3, max_length_extra=2),
    }
    return NmtConfig(**(values | changes))


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
