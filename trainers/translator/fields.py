"""Which fields make a run, and which its scores depend on."""

from trainers.engine.config.stored import ConfigRules, fields_of
from trainers.translator.presets import NmtConfig
from translation.text.bleu import choose_tokenizer
from translation.text.directions import parse_directions
from translation.text.languages import language_of

# What makes a run: fields that cannot change while it goes on.
_FIXED = (
    "pair",
    "mixing",
    "init_from",
    "vocabulary_type",
    "normalization",
    "label_smoothing",
    "precision",
    "model.",
    "filters.",
    "loop.optimizer",
    "loop.seed",
    "loop.loss_scale",
)

# Verdicts' former fields are passed over always, for no model depends on them.
RULES = ConfigRules(
    NmtConfig,
    fixed=_FIXED,
    open=("search.", "bleu_tokenizer"),
    former=("dip_spread", "fall_windows", "horizon"),
    former_if_empty=("subword_sampling",),
    before=(("normalization", "none"),),
)


def identity(config, tokenizer=None, train=None):
    """Lists what makes a run, to be stored in its checkpoints.

    The places of the corpus and of a given vocabulary are left out, since they
    may move; what they hold counts.

    Args:
        config: `NmtConfig`.
        tokenizer: `Tokenizer`, or None where it is not compared.
        train: The training `Corpus`, or None where it is not compared.

    Returns:
        dict of what JSON can hold.
    """
    fields = RULES.fixed_fields(config)
    if tokenizer is not None:
        fields["tokenizer.sha256"] = tokenizer.sha256
    if train is not None:
        parts = train.contents()
        fields["train.pairs"] = [part["pairs"] for part in parts]
        fields["train.characters"] = [part["characters"] for part in parts]
        fields["train.weights"] = train.weights
    return fields


def score_identity(config, dev_sha256):
    """Lists what the score of an evaluation depends on besides the weights.

    Args:
        config: `NmtConfig`.
        dev_sha256: str, what the dev corpus holds (`Corpus.digest`): the place
            of the same pairs may change.
    """
    fields = fields_of(config, ("dev", "search."))
    tokenizers = [
        choose_tokenizer(language_of(target), config.bleu_tokenizer)[0]
        for target in parse_directions(config.pair).targets
    ]
    return {
        **fields,
        "dev.sha256": dev_sha256,
        "bleu_tokenizer": ",".join(tokenizers),
    }


def batches_identity(config):
    """Lists what the place in the batches depends on.

    These fields may change while a run goes on; its batches begin anew then.
    """
    return fields_of(config, ("batches.",))
