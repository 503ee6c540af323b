"""Which fields make a run, and which its scores depend on."""

from trainers.engine.overrides import field_paths
from translation.text.bleu import choose_tokenizer
from translation.text.languages import language_of, parse_pair

# What makes a run: fields that cannot change while it goes on.
FIXED = (
    "pair",
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

# Fields that may change while a run goes on; its batches begin anew then.
BATCHES = ("batches.",)


def fields_of(config, names):
    """The fields whose dotted names begin with one of those."""
    fields = field_paths(config)
    return {n: fields[n] for n in fields if n.startswith(names)}


def identity(config, tokenizer=None, train=None):
    """What makes a run, for its checkpoints to know.

    The places of the corpus and of a given vocabulary are left out, since they
    may move; what they hold counts.

    Args:
        config: `NmtConfig`.
        tokenizer: `Tokenizer`, or None where it is not compared.
        train: The training `Corpus`, or None where it is not compared.

    Returns:
        dict of what JSON can hold.
    """
    fields = fields_of(config, FIXED)
    if tokenizer is not None:
        fields["tokenizer.sha256"] = tokenizer.sha256
    if train is not None:
        parts = train.contents()
        fields["train.pairs"] = [part["pairs"] for part in parts]
        fields["train.characters"] = [part["characters"] for part in parts]
        fields["train.weights"] = train.weights
    return fields


def measure(config, dev_sha256):
    """What the score of an evaluation depends on, besides the weights.

    Args:
        config: `NmtConfig`.
        dev_sha256: str, what the dev corpus holds (`Corpus.digest`): the place
            of the same pairs may change.
    """
    fields = fields_of(config, ("dev", "search."))
    language = language_of(parse_pair(config.pair).target)
    tokenizer, _ = choose_tokenizer(language, config.bleu_tokenizer)
    return {**fields, "dev.sha256": dev_sha256, "bleu_tokenizer": tokenizer}
