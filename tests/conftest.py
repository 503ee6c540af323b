"""Two logical CPUs, so that replicas can be tested on one machine."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest  # noqa: E402  after the log level
import tensorflow as tf  # noqa: E402

(_cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    _cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def two_replicas():
    """A strategy of two logical CPUs, one for all tests.

    A second one in the same process would number its collective operations
    from the start again, and meet the shapes of the first.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
