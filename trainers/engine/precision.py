"""What a precision costs on the machine that trains."""

import pathlib

import tensorflow as tf

_FLAGS = {  # of Linux: processors that multiply numbers of the type
    "mixed_bfloat16": ("avx512_bf16", "amx_bf16"),
    "mixed_float16": ("avx512_fp16", "amx_fp16"),
}


def slow_precision(precision, cpuinfo="/proc/cpuinfo"):
    """Says that a precision likely makes training slower here.

    Args:
        precision: Name of a Keras dtype policy.
        cpuinfo: str or path. File with the line `flags` of the processor.

    Returns:
        str, a sentence. None where the precision is
        no slower than float32, a GPU trains, or the file tells nothing.

    Example:

    >>> slow_precision("float32") is None
    True
    """
    wanted = _FLAGS.get(precision)
    flags = _flags(pathlib.Path(cpuinfo))
    if wanted is None or not flags or flags.intersection(wanted):
        return None
    if tf.config.list_physical_devices("GPU"):
        return None
    return (
        f"precision={precision} is likely slower than float32 here: this "
        f"processor has none of {', '.join(wanted)}, and no GPU was found."
    )


def _flags(path):
    if not path.exists():
        return set()
    for line in path.read_text("utf-8").splitlines():
        name, _, words = line.partition(":")
        if name.strip() == "flags":
            return set(words.split())
    return set()
