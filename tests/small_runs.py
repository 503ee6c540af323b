"""Training runs of the translator on a corpus of a few lines."""

import pytest

from trainers.engine import job
from trainers.engine.config.loop_config import LoopConfig
from trainers.translator import task
from trainers.translator.presets import NmtConfig
from translation.model.config import TranslatorConfig
from translation.search.beam_options import BeamOptions
from translation.text.input_pipeline import PipelineOptions

SMALL = NmtConfig(
    model=TranslatorConfig(
        vocab_size=300,
        depth=8,
        lstm_units=8,
        encoder_layers=2,
        encoder_moe_after=(1,),
        decoder_layers=1,
        num_experts=2,
        expert_hidden_dim=8,
        attention_units=8,
    ),
    loop=LoopConfig(steps=2, warmup_steps=1, evaluate_every=2, save_every=2),
    batches=PipelineOptions(tokens_per_batch=64, static_shapes=False),
    search=BeamOptions(beam_width=2, max_length_extra=2),
)
PAIRS = [
    ("one dog", "un chien"),
    ("two dogs", "deux chiens"),
    ("one cat", "un chat"),
    ("two cats", "deux chats"),
]


class GivenScores:
    """An evaluation that costs nothing, in place of `DevEvaluation`."""

    def __init__(self, scores):
        self._scores = iter(scores)

    def about_score(self):
        return "The score is given."

    def __call__(self, check):
        return {"score": next(self._scores)}


def train(config, folder, scores=(), log=lambda line: None):
    """Trains without evaluation and export; returns the `Loop`.

    Args:
        config: `NmtConfig`.
        folder: path of the model folder.
        scores: What the evaluations find.
        log: Function of one line of text.
    """
    evaluation = GivenScores(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "DevEvaluation", lambda *_: evaluation)
        patch.setattr(job, "_finish", lambda job, loop, log: loop)
        return task.train_and_evaluate(config, folder, log)


def write_corpora(folder, train=PAIRS):
    """Files train, dev and test; all but the first are `PAIRS`."""
    for split, pairs in (("train", train), ("dev", PAIRS), ("test", PAIRS)):
        for column, language in enumerate(("en", "fr")):
            lines = "".join(f"{pair[column]}\n" for pair in pairs)
            (folder / f"{split}.{language}").write_text(lines)
