"""The modes of `trainers.nmt`, and which of its flags go with which.

Importing it imports no TensorFlow: a wrong flag is refused at once.
"""

from trainers.engine.program.usage import TRAINING, WORKER_FLAGS, Usage

_TEXT_MODES = ("translate", "score")
_READERS = (*_TEXT_MODES, "export")
MODES = (TRAINING, "evaluate", *_READERS, "average", "experts")
USAGE = Usage(
    modes_of_flag={
        **dict.fromkeys(
            ("train", "dev", "init_from", *WORKER_FLAGS), (TRAINING,)
        ),
        "test": (TRAINING, "evaluate", "experts"),
        "references": (TRAINING, "evaluate"),
        "set": (TRAINING, "evaluate", *_READERS),
        "ensemble": _READERS,
        "ensemble_mean": _READERS,
        "target": _TEXT_MODES,
        "source": _TEXT_MODES,
        "target_column": _TEXT_MODES,
        "zero_shot": ("evaluate", *_TEXT_MODES),
        "n_best": ("translate",),
        "prefixes": ("translate",),
        "alignments": ("translate",),
        "long_lines": ("translate",),
        "max_source_length": _READERS,
        "average_of": ("average",),
        "labels": ("experts",),
        "export_precision": ("export",),
    },
    modes_of_paths=_TEXT_MODES,
    needs={
        "index": "cluster",
        "ensemble_mean": "ensemble",
        "init_from": "train",
    },
)

# Values of flags, which the modules that take them know as well: a test
# compares them (tests/trainers/nmt_test.py).
_PRESETS = (
    *("phrasebook", "multi30k", "wmt14"),
    *("phrasebook_multi", "multilingual", "multilingual_small"),
)
PRESETS = (*_PRESETS, *(f"{name}_dense" for name in _PRESETS))
PRECISIONS = ("float32", "bfloat16", "int8")
ALIGNMENTS = ("none", "hard", "soft")
LONG_LINES = ("cut", "split", "refuse")
MEANS = ("probabilities", "log_probabilities")
