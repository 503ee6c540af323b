"""Flags that every program has."""

from absl import flags

from moe_keras.parallel.processes.strategies import STRATEGIES
from trainers.engine.config.presets import preset_named
from trainers.engine.worker_options import WorkerOptions

flags.disclaim_key_flags()  # `--help` lists them with those of the program


class ConfigFlags:
    """`--preset`, `--set` and `--model_dir`.

    Args:
        presets: dict of configurations by name, the first is the default.
        folder: str. What `--model_dir` is by default, for its help.
        set_help: str. What else there is to say of `--set`.
    """

    def __init__(self, presets, folder="runs/PRESET", set_help=""):
        self._presets = presets
        self._preset = flags.DEFINE_string(
            "preset",
            next(iter(presets)),
            f"Named configuration to start from: {', '.join(presets)}.",
        )
        self._set = flags.DEFINE_multi_string(
            "set",
            [],
            "Change a field of the configuration: FIELD=VALUE. Repeatable."
            f"{set_help and ' '}{set_help}",
        )
        self._model_dir = flags.DEFINE_string(
            "model_dir",
            None,
            f"Folder of checkpoints, logs and SavedModel [{folder}].",
        )

    @property
    def changes(self):
        """List of `"field=value"`, as `--set` has them."""
        return self._set.value

    def config(self, overrides=()):
        """The configuration that the flags ask for.

        Args:
            overrides: List of `"field=value"` that comes before `--set`.
        """
        changes = [*overrides, *self._set.value]
        return preset_named(self._presets, self._preset.value, changes)

    def model_dir(self, *names):
        """The folder, by default `runs/PRESET`, `-NAME` after it for each."""
        default = "-".join((f"runs/{self._preset.value}", *names))
        return self._model_dir.value or default


class WorkerFlags:
    """Flags that spread training over devices and processes."""

    def __init__(self):
        self._strategy = flags.DEFINE_enum(
            "strategy",
            "none",
            list(STRATEGIES),
            "tf.distribute: mirrored shares each batch out to devices, "
            "multi_worker to processes on several hosts.",
        )
        self._devices = flags.DEFINE_string(
            "devices",
            None,
            "Devices for mirrored or a mesh: how many, or their names, as "
            "GPU:0,GPU:1. Without a GPU a number divides the processor, to "
            "try things out [all GPUs, or as many as the mesh has places].",
        )
        self._cluster = flags.DEFINE_string(
            "cluster",
            None,
            "Addresses of all workers, HOST:PORT,HOST:PORT, the same "
            "everywhere; the first is the chief [from TF_CONFIG]. With a mesh "
            "the first is this program, and the others lend their devices: "
            "moe_keras.parallel.worker.",
        )
        self._index = flags.DEFINE_integer(
            "index",
            None,
            "Which of the addresses is this worker's own, from 0.",
        )
        self._layout = flags.DEFINE_string(
            "layout",
            None,
            "experts:replica gives each replica a part of the experts [all of "
            "them]. With a mesh: what is split over which of its dimensions, "
            "batch, experts and hidden, as batch:data;experts:model.",
        )
        self._mesh_shape = flags.DEFINE_string(
            "mesh_shape",
            None,
            "Mesh of devices that share the experts, as data:2;model:2; see "
            "--layout.",
        )

    def options(self):
        """`WorkerOptions` that the flags ask for."""
        return WorkerOptions(
            strategy=self._strategy.value,
            devices=self._devices.value,
            cluster=self._cluster.value,
            index=self._index.value,
            layout=self._layout.value,
            mesh_shape=self._mesh_shape.value,
        )


def define_threads():
    """Flag of the threads that share one operation; returns its holder."""
    return flags.DEFINE_integer(
        "threads_per_operation",
        1,
        "Threads that share one operation on the processor; 0 for as many as "
        "it has cores. With few cores and small models they are better left "
        "to operations that can run side by side.",
        lower_bound=0,
    )


def define_average_of():
    """Flag of the checkpoints to average; returns its holder."""
    return flags.DEFINE_string(
        "average_of",
        "best",
        "Checkpoints to average: best or last, or so many of them, as last:5.",
    )
