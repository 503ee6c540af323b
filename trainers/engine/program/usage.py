"""Which flags of a program go with which of its modes.

Importing it imports no TensorFlow: a wrong flag is refused at once.
"""

import dataclasses

from absl import app

TRAINING = "train_and_evaluate"  # the mode that every program has

# Flags of `define_worker_flags`, which only training takes.
WORKER_FLAGS = (
    *("strategy", "devices", "cluster", "index"),
    *("layout", "mesh_shape"),
)


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a program takes in each of its modes."""

    modes_of_flag: dict  # modes that accept each mode-specific flag
    modes_of_paths: tuple[str, ...] = ()  # and arguments that are no flags
    needs: dict = dataclasses.field(  # flags that need another one
        default_factory=lambda: {"index": "cluster"}
    )

    def check(self, values, paths=()):
        """Refuses flags that the mode would ignore.

        Args:
            values: `absl.flags.FlagValues` of the program.
            paths: List of str, the arguments that are no flags.

        Raises:
            app.UsageError: naming the flag, and the modes that take it.
        """
        mode = values.mode
        used = {
            f"--{name}": modes
            for name, modes in self.modes_of_flag.items()
            if values[name].present
        }
        if paths:
            used[f"arguments {' '.join(paths)}"] = self.modes_of_paths
        for flag, modes in used.items():
            if mode not in modes:
                raise app.UsageError(
                    f"--mode={mode} does not take {flag}; "
                    f"{', '.join(modes)} does."
                )
        for flag, needed in self.needs.items():
            if values[flag].present and not values[needed].present:
                raise app.UsageError(f"--{flag} goes with --{needed} alone.")
        both = values["preset"].present and values["model_dir"].present
        if mode != TRAINING and both:
            raise app.UsageError(
                f"--mode={mode} takes the configuration of --model_dir; leave "
                "out --preset."
            )
