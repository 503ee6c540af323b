"""Flags that every program has.

Importing it imports no TensorFlow. `--help` lists these flags with those that
the program defines itself.
"""

from absl import flags

# As `moe_keras.parallel` has them, which a test compares.
STRATEGIES = ("none", "mirrored", "multi_worker")

flags.disclaim_key_flags()


def define_config_flags(values, presets, folder="runs/PRESET", set_help=""):
    """Defines `--preset`, `--set` and `--model_dir`.

    Args:
        values: `absl.flags.FlagValues` that they are defined in.
        presets: Names of the presets; the first is the default.
        folder: str. What `--model_dir` is by default, for its help.
        set_help: str. What else there is to say of `--set`.
    """
    flags.DEFINE_string(
        "preset",
        presets[0],
        f"Named configuration to start from: {', '.join(presets)}.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "model_dir",
        None,
        f"Folder of checkpoints, logs and SavedModel [{folder}].",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "set",
        [],
        "Change a field of the configuration: FIELD=VALUE. Repeatable. "
        f"{set_help}".rstrip(),
        flag_values=values,
    )


def define_average_flag(values):
    """Defines `--average_of`."""
    flags.DEFINE_string(
        "average_of",
        "best",
        "Checkpoints to average: best or last, or so many of them, as last:5.",
        flag_values=values,
    )


def define_worker_flags(values):
    """Defines the flags that spread training; see `WorkerOptions`."""
    flags.DEFINE_enum(
        "strategy",
        "none",
        STRATEGIES,
        "tf.distribute: mirrored shares each batch out to devices, "
        "multi_worker to processes on several hosts.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "devices",
        None,
        "Devices for mirrored or a mesh: how many, or their names, as "
        "GPU:0,GPU:1. Without a GPU a number divides the processor, to try "
        "things out [all GPUs, or as many as the mesh has places].",
        flag_values=values,
    )
    flags.DEFINE_string(
        "cluster",
        None,
        "Addresses of all workers, HOST:PORT,HOST:PORT, the same everywhere; "
        "the first is the chief [from TF_CONFIG]. With a mesh the first is "
        "this program, and the others lend their devices: "
        "moe_keras.parallel.worker.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "index",
        None,
        "Which of the addresses is this worker's own, from 0.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "layout",
        None,
        "experts:replica gives each replica a part of the experts [all of "
        "them]. With a mesh: what is split over which of its dimensions, "
        "batch, experts and hidden, as batch:data;experts:model.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "mesh_shape",
        None,
        "Mesh of devices that share the experts, as data:2;model:2; see "
        "--layout.",
        flag_values=values,
    )


def define_threads_flag(values):
    """Defines `--threads_per_operation`."""
    flags.DEFINE_integer(
        "threads_per_operation",
        1,
        "Threads that share one operation on the processor; 0 for as many as "
        "it has cores. With few cores and small models they are better left "
        "to operations that can run side by side.",
        lower_bound=0,
        flag_values=values,
    )
