"""Named configurations of the language model's training.

`small` trains on the embedded corpus in minutes. `moe_4` to `moe_131072_h`
and their baselines are the rows of the paper's tables 7 and 8, the ladders
`small_*`, `medium_*` and `large_*` have such rows for a processor of 2 cores,
and `many_*` have up to 131,072 experts as small as can be.
"""

import dataclasses

from language_model.batches import BatchOptions
from language_model.config import LanguageModelConfig
from language_model.generate import GenerateOptions
from moe_keras.moe_config import dense_twin
from moe_keras.monitoring import Thresholds
from trainers.engine.config.loop_config import LoopConfig

VOCABULARIES = ("subwords", "words")
SOFTMAXES = ("full", "sampled")
CANDIDATES = ("log_uniform", "counts")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class LmConfig:
    """Everything about one run of `trainers.lm`, but its folder.

    Example:

    >>> config = LmConfig(softmax="sampled", sampled_candidates=512)
    >>> config.softmax, config.model.layers
    ('sampled', ('lstm', 'moe', 'lstm'))
    """

    train: str = "phrasebook"  # corpora: files, patterns, folders, tfds:NAME
    dev: str = "phrasebook"  # chooses the best checkpoint
    test: str = "phrasebook"  # reported at the end
    vocabulary_kind: str = "subwords"  # or words
    vocabulary_type: str = "unigram"  # SentencePiece model: unigram or bpe
    vocabulary_lines: int = 500_000  # it is learned from, at most
    vocabulary_file: str = ""  # a SentencePiece model or a file of counts
    softmax: str = "full"  # or sampled: an estimate, while training only
    sampled_candidates: int = 8192  # S: words drawn for a batch
    sampled_by: str = "log_uniform"  # how they are drawn, or by their counts
    carry_state: bool = True  # running text: from one batch to the next
    dev_lines: int = 2000  # of `dev`, that are looked at; 0: all
    precision: str = "float32"  # or mixed_bfloat16, mixed_float16
    model: LanguageModelConfig = LanguageModelConfig()
    loop: LoopConfig = LoopConfig()
    batches: BatchOptions = BatchOptions()
    generate: GenerateOptions = GenerateOptions()
    verdicts: Thresholds = Thresholds()

    def __post_init__(self):
        choices = {
            "vocabulary_kind": VOCABULARIES,
            "vocabulary_type": ("unigram", "bpe"),
            "softmax": SOFTMAXES,
            "sampled_by": CANDIDATES,
            "precision": PRECISIONS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. "
                    f"Received: {getattr(self, name)!r}"
                )
        for name in ("sampled_candidates", "vocabulary_lines"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if self.dev_lines < 0:
            raise ValueError(
                "`dev_lines` must not be negative. "
                f"Received: dev_lines={self.dev_lines}"
            )
        if self.softmax == "sampled" and self.model.share_softmax:
            raise ValueError(
                "`share_softmax` must be False with softmax='sampled', whose "
                "kernel has gradients of few rows. Received: share_softmax="
                "True"
            )


def moe(experts, groups=1, k=4, **sizes):
    """Makes the model of the paper's appendix C with E experts.

    Args:
        experts: int. E.
        groups: int. Groups of a hierarchical gate; 1 makes a flat one.
        k: int. Experts of a token; 2 in each of 2 groups by default.
        **sizes: Other fields of `LanguageModelConfig`.
    """
    if groups > 1:
        sizes = {
            "gate": "hierarchical",
            "expert_groups": groups,
            "groups_per_token": 2,
            **sizes,
        }
    return LanguageModelConfig(
        num_experts=experts, experts_per_token=k, **sizes
    )


def _ladder(shape, ladder, stacked_units, single_units, deep_dim):
    """Makes models of equal ops per timestep, by the end of their names.

    Args:
        shape: dict of sizes of an LSTM and of an expert.
        ladder: dict of groups by name, as `256_h`.
        stacked_units: int. Cells of each of four LSTMs without an MoE.
        single_units: int. Cells of a single LSTM without an MoE.
        deep_dim: int. Units of each hidden layer of the deep dense expert.
    """
    depth = shape["depth"]
    models = {
        f"moe_{name}": moe(int(name.partition("_")[0]), groups, **shape)
        for name, groups in ladder.items()
    }
    wide = dense_twin(models["moe_4"])
    deep = dataclasses.replace(
        wide, expert_hidden_dim=deep_dim, expert_hidden_layers=4
    )
    return {
        **models,
        "moe_1_wide": wide,
        "moe_1_deep": deep,
        f"4xlstm_{stacked_units}": dataclasses.replace(
            wide, layers=4 * ("lstm",), lstm_units=stacked_units
        ),
        f"lstm_{single_units}_{depth}": dataclasses.replace(
            wide, layers=("lstm",), lstm_units=single_units
        ),
    }


# The vocabulary of the billion words, and ours for the hundred billion: the
# totals of table 8 leave 75 to 109 thousand.
_WORDS = 793_471
_NEWS_WORDS = 100_000
_PAPER = {"depth": 512, "lstm_units": 512, "expert_hidden_dim": 1024}
_BILLION = {"4": 1, "32": 1, "256": 1, "256_h": 16, "1024_h": 16, "4096_h": 16}
_HUNDRED_BILLION = {
    "16384_h": 128,
    "65536_h": 256,
    "131072_h": 256,
}
_TABLE_7 = {
    **_ladder({**_PAPER, "vocab_size": _WORDS}, _BILLION, 512, 2048, 1024),
    "moe_34m": moe(
        1024,
        32,
        vocab_size=_WORDS,
        depth=1024,
        lstm_units=1024,
        expert_hidden_dim=2048,
    ),
    "moe_143m": moe(
        256,
        32,
        vocab_size=_WORDS,
        depth=1024,
        lstm_units=4096,
        expert_hidden_dim=8192,
    ),
}
_DROPOUT = {
    "moe_1024_h": 0.2,
    "moe_4096_h": 0.2,
    "moe_34m": 0.3,
    "moe_143m": 0.4,
}
_TABLE_8 = {
    f"moe_{name}": moe(
        int(name.partition("_")[0]), groups, vocab_size=_NEWS_WORDS, **_PAPER
    )
    for name, groups in _HUNDRED_BILLION.items()
}
# The same rows with table 8's branching.
_NEWS = {
    f"news_moe_{name}": moe(
        int(name.partition("_")[0]), groups, vocab_size=_NEWS_WORDS, **_PAPER
    )
    for name, groups in (
        ("32", 1),
        ("256_h", 32),
        ("1024_h", 32),
        ("4096_h", 64),
    )
}
_NEWS["news_4xlstm_512"] = dataclasses.replace(
    _TABLE_7["4xlstm_512"], vocab_size=_NEWS_WORDS
)


def _paper_run(name, model, tokens):
    """Makes a run of the paper (appendices C and D): Adam, sampled softmax."""
    dropout = _DROPOUT.get(name, 0.1 if model.vocab_size == _WORDS else 0.0)
    return LmConfig(
        train="train",
        dev="dev",
        test="test",
        vocabulary_kind="words",
        softmax="sampled",
        dev_lines=0,
        model=dataclasses.replace(model, dropout=dropout),
        loop=LoopConfig(
            steps=27_000,
            warmup_steps=1000,
            constant_steps=0,
            optimizer="factored_adam",
            average_decay=0.0,
            evaluate_every=1000,
            save_every=500,
        ),
        batches=BatchOptions(rows=tokens // 32, time_steps=32),
    )


# For 2 cores: half a million ops for a timestep, two or eight millions. With
# few subwords, whose softmax is a third of the smallest model and not four
# fifths, what lies below the softmax has to tell them apart, and that is where
# experts are. Batches are small, so that a few million words make enough steps;
# in so few tokens the load varies by chance and by topic, which the losses may
# not punish as in the paper's 300,000. Gates that tell tokens apart from the
# first step on, with little noise, make up for the steps that the paper's has
# to find its way in. The rate falls early: experts see few tokens of a batch,
# and gain little while it is high (docs/language_model.md).
_SMALL = {
    "vocab_size": 2000,
    "importance_loss_weight": 0.01,
    "load_loss_weight": 0.01,
    "gate_options": "kernel_initializer=glorot_uniform,initial_noise=0.1",
}
_SMALL_LADDER = {
    "4": 1,
    "32": 1,
    "256": 1,
    "256_h": 16,
    "1024_h": 32,
    "4096_h": 64,
}
# Shapes of a budget: depth, cells of an LSTM, units of an expert; then those of
# the dense models of equal ops, cells of four LSTMs, of a single one, units of
# each layer of the deep expert; and the rate of learning. The large one is the
# paper's for the billion words.
_BUDGETS = {
    "small": ((128, 128, 256), (128, 512, 256), 3e-3),
    "medium": ((256, 256, 512), (256, 1024, 512), 2e-3),
    "large": ((512, 512, 1024), (512, 2048, 1024), 1e-3),
}


# As many experts as one wants, each as small as can be: 131,072 of them are
# 2.1 GB.
_MANY = {
    "vocab_size": 16_000,
    "depth": 64,
    "lstm_units": 64,
    "expert_hidden_dim": 32,
    "moe_activation": "linear",
    "dropout": 0.0,
}
_MANY_LADDER = {
    "4": 1,
    "32": 1,
    "256": 1,
    "1024_h": 32,
    "4096_h": 64,
    "16384_h": 128,
    "65536_h": 256,
    "131072_h": 256,
}


def _budget_ladder(sizes, dense_sizes):
    """Makes the models of a budget, by the end of their names."""
    names = ("depth", "lstm_units", "expert_hidden_dim")
    shape = {**_SMALL, **dict(zip(names, sizes, strict=True))}
    return _ladder(shape, _SMALL_LADDER, *dense_sizes)


def _small_run(model, learning_rate):
    """A run on some million words."""
    return LmConfig(
        train="train.txt.gz",
        dev="valid.txt.gz",
        test="test.txt.gz",
        sampled_candidates=1024,
        model=dataclasses.replace(model, moe_activation="linear", dropout=0.0),
        loop=LoopConfig(
            steps=10_000,
            learning_rate=learning_rate,
            warmup_steps=200,
            schedule="exponential",
            final_rate=0.02,
            clip_norm=1.0,
            average_decay=0.998,
            evaluate_every=2000,
            save_every=1000,
            log_every=200,
        ),
        batches=BatchOptions(rows=64, time_steps=32),
    )


def _many_run(model):
    """A thousand steps, each of which pays for its busy experts alone."""
    run = _small_run(model, learning_rate=3e-3)
    loop = dataclasses.replace(
        run.loop,
        steps=1000,
        schedule="linear",
        final_rate=0.0,
        optimizer="lazy_factored_adam",
        average_decay=0.0,
        save_every=1000,
        keep_checkpoints=1,
    )
    batches = dataclasses.replace(run.batches, rows=32)
    return dataclasses.replace(
        run, softmax="sampled", loop=loop, batches=batches
    )


# The main job: the embedded corpus, in minutes.
_MAIN = LmConfig(
    dev_lines=500,
    model=LanguageModelConfig(
        vocab_size=1000,
        depth=96,
        lstm_units=96,
        num_experts=16,
        experts_per_token=2,
        expert_hidden_dim=128,
        moe_activation="linear",
        dropout=0.05,
    ),
    loop=LoopConfig(
        steps=1200,
        learning_rate=4e-3,
        warmup_steps=100,
        schedule="linear",
        clip_norm=1.0,
        average_decay=0.99,
        evaluate_every=300,
        save_every=300,
    ),
    batches=BatchOptions(rows=32, time_steps=24),
)

PRESETS = {
    "small": _MAIN,
    **{
        f"{budget}_{name}": _small_run(model, rate)
        for budget, (sizes, dense_sizes, rate) in _BUDGETS.items()
        for name, model in _budget_ladder(sizes, dense_sizes).items()
    },
    **{
        f"many_moe_{name}": _many_run(
            moe(int(name.partition("_")[0]), groups, **_MANY)
        )
        for name, groups in _MANY_LADDER.items()
    },
    **{
        name: _paper_run(name, model, tokens=300_000)
        for name, model in _TABLE_7.items()
    },
    **{
        name: _paper_run(name, model, tokens=2_500_000)
        for name, model in {**_TABLE_8, **_NEWS}.items()
    },
}
