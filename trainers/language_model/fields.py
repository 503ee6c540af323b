"""Which fields make a run of a language model, and its scores."""

from trainers.engine.config.stored import ConfigRules, fields_of
from trainers.language_model.presets import LmConfig

# What makes a run: fields that cannot change while it goes on.
_FIXED = (
    "vocabulary_kind",
    "vocabulary_type",
    "softmax",
    "sampled_",
    "carry_state",
    "precision",
    "model.",
    "batches.",
    "loop.optimizer",
    "loop.seed",
    "loop.loss_scale",
)

RULES = ConfigRules(LmConfig, fixed=_FIXED, open=("generate.",))


def identity(config, vocabulary=None, train=None):
    """Lists what makes a run, to be stored in its checkpoints.

    The places of corpus and vocabulary are left out, since they may move;
    what they hold counts.

    Args:
        config: `LmConfig`.
        vocabulary: `Tokenizer` or `WordVocabulary`, or None where it is not
            compared.
        train: The training corpus, or None where it is not compared.

    Returns:
        dict of what JSON can hold.
    """
    fields = RULES.fixed_fields(config)
    if vocabulary is not None:
        fields["vocabulary.sha256"] = vocabulary.sha256
    if train is not None:
        fields["train.contents"] = train.contents()
        fields["train.weights"] = train.weights
    return fields


def score_identity(config, dev):
    """Lists what the score depends on besides the weights: the dev corpus."""
    return {**fields_of(config, ("dev_lines",)), "dev": dev.contents()}
