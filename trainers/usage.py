"""Which flags of `trainers.nmt` go with which of its modes."""

from absl import app, flags

TRAINING = ("train_and_evaluate",)
_FILTERS = ("translate", "score")
_READERS = (*_FILTERS, "export")
# The modes that take a flag, of those that not every mode takes.
_MODES = {
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
        for name, modes in _MODES.items()
        if flags.FLAGS[name].present
    }
    if paths:
        used[f"arguments {' '.join(paths)}"] = _FILTERS
    for flag, modes in used.items():
        if mode not in modes:
            raise app.UsageError(
                f"--mode={mode} does not take {flag}; {', '.join(modes)} does."
            )
    if flags.FLAGS.index is not None and not flags.FLAGS.cluster:
        raise app.UsageError(
            "--index says which address of --cluster is this worker's own; "
            "there is no --cluster."
        )
