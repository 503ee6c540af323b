"""Which flags of `trainers.nmt` go with which of its modes.

Importing it imports no TensorFlow: a wrong flag is refused at once.
"""

from absl import app, flags

TRAINING = ("train_and_evaluate",)
_FILTERS = ("translate", "score")
_READERS = (*_FILTERS, "export")
MODES = (*TRAINING, "evaluate", *_READERS, "average", "experts")
# Modes that accept each mode-specific flag.
_MODES_OF = {
    **dict.fromkeys(
        (
            *("train", "dev", "strategy", "devices", "cluster", "index"),
            *("layout", "mesh_shape"),
        ),
        TRAINING,
    ),
    "test": (*TRAINING, "evaluate", "experts"),
    "set": (*TRAINING, "evaluate", *_READERS),
    "ensemble": _READERS,
    "ensemble_mean": _READERS,
    "n_best": ("translate",),
    "alignments": ("translate",),
    "average_of": ("average",),
    "labels": ("experts",),
    "export_precision": ("export",),
}
# Flags that say nothing without another one.
_NEEDS = {"index": "cluster", "ensemble_mean": "ensemble"}

# Values of flags, which the modules that take them know as well: a test
# compares them (tests/trainers/nmt_test.py).
_PRESETS = ("phrasebook", "multi30k", "wmt14")
PRESETS = (*_PRESETS, *(f"{name}_dense" for name in _PRESETS))
STRATEGIES = ("none", "mirrored", "multi_worker")
PRECISIONS = ("float32", "bfloat16")
ALIGNMENTS = ("none", "hard", "soft")
MEANS = ("probabilities", "log_probabilities")


def check_usage(mode, paths):
    """Refuses what a mode would pass over: it is a mistake.

    Args:
        mode: str, that of `--mode`.
        paths: List of str, the arguments that are no flags.

    Raises:
        app.UsageError: naming the flag, and the modes that take it.
    """
    used = {
        f"--{name}": modes
        for name, modes in _MODES_OF.items()
        if flags.FLAGS[name].present
    }
    if paths:
        used[f"arguments {' '.join(paths)}"] = _FILTERS
    for flag, modes in used.items():
        if mode not in modes:
            raise app.UsageError(
                f"--mode={mode} does not take {flag}; {', '.join(modes)} does."
            )
    for flag, needed in _NEEDS.items():
        if flags.FLAGS[flag].present and not flags.FLAGS[needed].present:
            raise app.UsageError(f"--{flag} goes with --{needed} alone.")
    if (
        mode not in TRAINING
        and flags.FLAGS["preset"].present
        and flags.FLAGS["model_dir"].present
    ):
        raise app.UsageError(
            f"--mode={mode} takes the configuration of --model_dir; leave out "
            "--preset."
        )
