"""Which flags of a program go with which of its modes."""

from absl import app, flags

# Flags of `WorkerFlags`, which only training takes.
TRAINING_FLAGS = (
    *("strategy", "devices", "cluster", "index"),
    *("layout", "mesh_shape"),
)


def check_usage(mode, modes_of_flag, paths=(), modes_of_paths=()):
    """Refuses what a mode would pass over: it is a mistake.

    Args:
        mode: str, that of `--mode`.
        modes_of_flag: dict. Modes that accept each mode-specific flag, by the
            flag's name. Other flags go with every mode.
        paths: List of str, the arguments that are no flags.
        modes_of_paths: Modes that accept such arguments.

    Raises:
        app.UsageError: naming the flag, and the modes that take it.
    """
    used = {
        f"--{name}": modes
        for name, modes in modes_of_flag.items()
        if flags.FLAGS[name].present
    }
    if paths:
        used[f"arguments {' '.join(paths)}"] = modes_of_paths
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
