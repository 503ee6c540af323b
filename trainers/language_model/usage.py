"""The modes of `trainers.lm`, and which of its flags go with which.

Importing it imports no TensorFlow: a wrong flag is refused at once.
"""

from trainers.engine.program.usage import TRAINING, WORKER_FLAGS, Usage

_TEXT_MODES = ("score", "generate")
_READERS = (*_TEXT_MODES, "export")
MODES = (TRAINING, "evaluate", *_READERS, "average", "experts")
USAGE = Usage(
    modes_of_flag={
        **dict.fromkeys(("train", "dev", *WORKER_FLAGS), (TRAINING,)),
        "test": (TRAINING, "evaluate", "experts"),
        "set": (TRAINING, "generate", "export"),
        "rerank": ("score",),
        "samples": ("generate",),
        "labels": ("evaluate", "experts"),
        "masked": ("experts",),
        "average_of": ("average",),
        "export_precision": ("export",),
        "max_length": ("export",),
    },
    modes_of_paths=_TEXT_MODES,
)

# As `trainers.engine.served_copy` has it, which a test compares.
PRECISIONS = ("float32", "bfloat16", "int8")

# Names of presets, which trainers/language_model/presets.py has: a test
# compares them.
_SIZES = ("4", "32", "256", "256_h", "1024_h", "4096_h")
_MANY = (*_SIZES[:3], *_SIZES[4:], "16384_h", "65536_h", "131072_h")
_BASELINES = ("moe_1_wide", "moe_1_deep")
_BUDGETS = {  # stacked LSTMs, and the single one
    "small": ("4xlstm_128", "lstm_512_128"),
    "medium": ("4xlstm_256", "lstm_1024_256"),
    "large": ("4xlstm_512", "lstm_2048_512"),
}
PRESETS = (
    "small",
    *(
        f"{budget}_{name}"
        for budget, lstms in _BUDGETS.items()
        for name in (*(f"moe_{size}" for size in _SIZES), *_BASELINES, *lstms)
    ),
    *(f"many_moe_{size}" for size in _MANY),
    *(f"moe_{size}" for size in _SIZES),
    *_BASELINES,
    "4xlstm_512",
    "lstm_2048_512",
    "moe_34m",
    "moe_143m",
    "moe_16384_h",
    "moe_65536_h",
    "moe_131072_h",
    *(f"news_moe_{size}" for size in ("32", "256_h", "1024_h", "4096_h")),
    "news_4xlstm_512",
)
