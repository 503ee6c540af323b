"""A processor as several devices, to try things out without GPUs."""

import tensorflow as tf


def divide_processor(parts: int) -> None:
    """Divide the processor into several devices: `CPU:0`, `CPU:1` and so on.

    They share its cores and memory: nothing gets faster. Call it before
    TensorFlow computes anything. If there are that many devices already, it
    does nothing.

    Args:
        parts: int.

    Raises:
        ValueError: If TensorFlow has begun to compute with fewer.

    Example:

    >>> divide_processor(1)
    >>> tf.config.list_logical_devices("CPU")[0].name
    '/device:CPU:0'
    """
    (processor,) = tf.config.list_physical_devices("CPU")
    made = tf.config.get_logical_device_configuration(processor) or ()
    if len(made) >= parts:
        return
    try:
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * parts
        )
    except RuntimeError as error:
        there = len(tf.config.list_logical_devices("CPU"))
        if there < parts:
            raise ValueError(
                f"The processor can be divided into {parts} devices only "
                "before TensorFlow computes anything. "
                f"There are now: {there}"
            ) from error
