"""Named configurations of the translator's training, and how to change them.

Each preset has a dense twin of the same ops per timestep, `NAME_dense`.
"""

import dataclasses

from moe_keras.moe_config import dense_twin
from moe_keras.monitoring import Thresholds
from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.config.presets import preset_named
from trainers.translator.dev_mean import parse_dev_mean
from translation.model.config import TranslatorConfig
from translation.search.beam_options import BeamOptions
from translation.text.bleu import TOKENIZERS
from translation.text.corpora.mixing import parse_mixing
from translation.text.corpora.pair_filters import FilterOptions
from translation.text.directions import parse_directions
from translation.text.input_pipeline import PipelineOptions
from translation.text.normalization import FORMS


@dataclasses.dataclass(frozen=True)
class NmtConfig:
    """Everything about one run of `trainers.nmt`, but its folder.

    Example:

    >>> config = NmtConfig(pair="de-en", search=BeamOptions(beam_width=8))
    >>> config.pair, config.search.beam_width, config.precision
    ('de-en', 8, 'float32')
    """

    pair: str = "en-fr"  # source and target language, or several such pairs
    train: str = "phrasebook"  # corpora: file prefixes, .tsv, tfds, phrasebook
    dev: str = "phrasebook"  # chooses the best checkpoint
    test: str = "phrasebook"  # reported at the end
    references: str = ""  # more of them for `test`: text files
    mixing: str = "proportional"  # of directions: equal, 1 to inf, weights
    vocabulary_type: str = "unigram"  # SentencePiece model: unigram or bpe
    vocabulary_sentences: int = 500_000  # it is learned from, at most
    character_coverage: float = 0.9999  # fraction with a subword of their own
    tokenizer_model: str = ""  # path of a SentencePiece model to use instead
    init_from: str = ""  # model folder whose weights training starts from
    normalization: str = "auto"  # of text: NFC, NFKC or none; auto is NFC
    label_smoothing: float = 0.1  # fraction of probability spread over all
    dev_sentences: int = 500  # of `dev` translated for BLEU, each direction
    dev_search: str = "beam"  # how: beam, as `search` says, or greedy
    dev_score: str = "bleu"  # what chooses: bleu, chrf or perplexity
    dev_mean: str = "mean"  # of the directions: mean, worst or weights
    bleu_tokenizer: str = "auto"  # as sacreBLEU's -tok; auto: by the language
    precision: str = "float32"  # or mixed_bfloat16, mixed_float16
    model: TranslatorConfig = TranslatorConfig()
    loop: LoopConfig = LoopConfig()
    filters: FilterOptions = FilterOptions()
    batches: PipelineOptions = PipelineOptions()
    search: BeamOptions = BeamOptions()
    verdicts: Thresholds = Thresholds()

    def __post_init__(self):
        # One way to write pairs, whatever was given: en-fr,en-pt-BR.
        object.__setattr__(self, "pair", str(parse_directions(self.pair)))
        parse_mixing(self.mixing, self.pair)
        parse_dev_mean(self.dev_mean, self.pair)
        if not 0 < self.character_coverage <= 1:
            raise ValueError(
                "`character_coverage` must be above 0 and at most 1. Received: "
                f"character_coverage={self.character_coverage}"
            )
        choices = {
            "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
            "vocabulary_type": ("unigram", "bpe"),
            "normalization": ("auto", *FORMS),
            "dev_search": ("beam", "greedy"),
            "dev_score": ("bleu", "chrf", "perplexity"),
            "bleu_tokenizer": TOKENIZERS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. "
                    f"Received: {getattr(self, name)!r}"
                )
        if not 0 <= self.label_smoothing < 1 or self.dev_sentences < 0:
            raise ValueError(
                "`label_smoothing` must be at least 0 and below 1, and "
                "`dev_sentences` not negative. Received: label_smoothing="
                f"{self.label_smoothing}, dev_sentences={self.dev_sentences}"
            )
        if self.dev_score == "chrf" and not self.dev_sentences:
            raise ValueError(
                "`dev_score` of chrf needs translations: `dev_sentences` must "
                "be at least 1. Received: dev_sentences=0"
            )
        if self.vocabulary_sentences < 1:
            raise ValueError(
                "`vocabulary_sentences` must be at least 1. Received: "
                f"vocabulary_sentences={self.vocabulary_sentences}"
            )


# The two small presets leave the paper's sigmoid after the MoE out: it adds one
# half to every unit at first, noise under dropout (docs/results.md).
_PHRASEBOOK = NmtConfig(
    label_smoothing=0.05,
    dev_sentences=100,
    model=TranslatorConfig(
        vocab_size=1500,
        depth=128,
        lstm_units=128,
        num_experts=8,
        expert_hidden_dim=256,
        attention_units=128,
        moe_activation="linear",
        dropout=0.05,
        share_softmax=False,
    ),
    loop=LoopConfig(
        steps=900,
        learning_rate=4e-3,
        warmup_steps=100,
        constant_steps=450,
        average_decay=0.99,
        clip_norm=1.0,
        evaluate_every=300,
        save_every=300,
    ),
)

_MULTI30K = NmtConfig(
    train="train",
    dev="val",
    test="test_2016_flickr",
    dev_sentences=1000,
    model=TranslatorConfig(
        vocab_size=4000,
        depth=192,
        lstm_units=192,
        num_experts=16,
        expert_hidden_dim=256,
        attention_units=192,
        moe_activation="linear",
        dropout=0.17,
        share_softmax=False,
    ),
    loop=LoopConfig(
        steps=1_000_000,
        max_minutes=55,
        learning_rate=4e-3,
        schedule="linear",  # to zero when the minutes are used up
        decay_from=0.1,
        warmup_steps=200,
        clip_norm=1.0,
        average_decay=0.998,
        evaluate_every=1000,
        save_every=500,
    ),
    batches=PipelineOptions(length_multiple=2),
    search=BeamOptions(prune=3.0),
)

# The paper's settings (section 5.3, appendix E). What it does not say is
# GNMT's (beams) or left out (smoothing, averaging); the number of groups is
# ours. Its runs had the batchwise gate at both levels, which we do not have.
_WMT14 = NmtConfig(
    train="train",
    dev="newstest2013",
    test="newstest2014",
    label_smoothing=0.0,
    model=TranslatorConfig(
        vocab_size=32_000,
        depth=512,
        lstm_units=2048,
        bidirectional=False,
        num_experts=2048,
        experts_per_token=4,
        gate="hierarchical",
        expert_groups=32,
        groups_per_token=2,
        expert_hidden_dim=2048,
        expert_bias=False,
        attention_units=512,
        context_to="first",
        readout=False,
        dropout=0.4,
    ),
    loop=LoopConfig(
        steps=300_000,
        warmup_steps=2000,
        constant_steps=8000,
        average_decay=0.0,
        evaluate_every=5000,
        save_every=5000,
    ),
    batches=PipelineOptions(tokens_per_batch=16_000, length_multiple=8),
    search=BeamOptions(
        beam_width=8,
        length_penalty=0.2,
        coverage_penalty=0.2,
        prune=3.0,
    ),
)


# The paper's twelve directions (section 5.4).
_TWELVE = "en-fr,de,ja,ko,pt,es:both"

# The paper's multilingual model (section 5.4, appendix E): that of `_WMT14` but
# for the experts. It does not say how its directions were mixed, only that rare
# ones were drawn more often; the temperature, and no dropout, are ours.
_MULTILINGUAL = dataclasses.replace(
    _WMT14,
    pair=_TWELVE,
    train="train.{pair}",
    dev="dev.{pair}",
    test="test.{pair}",
    mixing="5",
    character_coverage=0.9995,
    model=dataclasses.replace(
        _WMT14.model,
        num_experts=512,
        experts_per_token=2,
        gate="noisy_top_k",
        expert_groups=1,
        groups_per_token=1,
        expert_hidden_dim=8192,
        dropout=0.0,
    ),
)

# For some 20,000 pairs of each direction, and an hour on two cores. The dense
# twin is small for twelve directions, and four of five LSTMs have experts
# behind them. What the directions share is learned at once by the expert that
# all tokens visit; each of the others sees a thirty-second of the tokens
# (docs/multilingual.md).
_MULTILINGUAL_SMALL = NmtConfig(
    pair=_TWELVE,
    train="train.{pair}",
    dev="dev.{pair}",
    test="test.{pair}",
    mixing="2",
    character_coverage=0.9995,
    label_smoothing=0.0,
    dev_sentences=50,
    dev_search="greedy",
    model=TranslatorConfig(
        vocab_size=6000,
        depth=96,
        lstm_units=96,
        num_experts=32,
        experts_per_token=1,
        gate_options="kernel_initializer=glorot_uniform,initial_noise=0.1",
        expert_hidden_dim=256,
        shared_hidden_dim=256,
        encoder_moe_after=(1, 2),
        decoder_moe_after=(1, 2),
        attention_units=96,
        moe_activation="linear",
        dropout=0.05,
        share_softmax=False,
    ),
    loop=LoopConfig(
        steps=8000,
        learning_rate=4e-3,
        schedule="linear",
        decay_from=0.2,
        warmup_steps=200,
        clip_norm=1.0,
        average_decay=0.998,
        evaluate_every=1000,
        save_every=500,
    ),
    filters=FilterOptions(wide_characters=2.0),
    batches=PipelineOptions(tokens_per_batch=2048, length_multiple=2),
    search=BeamOptions(prune=3.0),
)

_PHRASEBOOK_MULTI = dataclasses.replace(
    _PHRASEBOOK,
    pair="en-fr,en-de,fr-de:both",
    train="phrasebook:20000",
    dev="phrasebook:200",
    test="phrasebook:200",
    dev_sentences=50,
    dev_search="greedy",
    loop=dataclasses.replace(
        _PHRASEBOOK.loop, steps=2500, evaluate_every=500, save_every=500
    ),
)


def _with_twins(presets):
    twins = {
        f"{name}_dense": dataclasses.replace(
            preset, model=dense_twin(preset.model)
        )
        for name, preset in presets.items()
    }
    return {**presets, **twins}


PRESETS = _with_twins(
    {
        "phrasebook": _PHRASEBOOK,
        "multi30k": _MULTI30K,
        "wmt14": _WMT14,
        "phrasebook_multi": _PHRASEBOOK_MULTI,
        "multilingual": _MULTILINGUAL,
        "multilingual_small": _MULTILINGUAL_SMALL,
    }
)


def preset(name):
    """Returns the preset called `name`.

    Raises:
        ValueError: if there is none, listing those that there are.
    """
    return preset_named(PRESETS, name)
