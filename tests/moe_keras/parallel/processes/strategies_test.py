"""What cannot be had is said in a line, before anything starts."""

import pytest
import tensorflow as tf

from moe_keras.parallel import divide_processor
from moe_keras.parallel.processes.cluster import Cluster
from moe_keras.parallel.processes.strategies import start_workers


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"strategy": "tpu"}, "one of none, mirrored, multi_worker.*'tpu'"),
        ({"devices": "2"}, "`devices` is for the strategy mirrored"),
        ({"strategy": "multi_worker"}, "which needs one.*cluster=None"),
        (
            {"strategy": "mirrored", "cluster": Cluster(("a:1",), 0)},
            "A cluster is for the strategy multi_worker",
        ),
        ({"layout": "experts:replica"}, "is for several replicas"),
        (
            {"strategy": "mirrored", "layout": "experts:gpu"},
            '`layout` must be "experts:replica"',
        ),
        ({"strategy": "mirrored", "devices": "GPU:99"}, "GPU:99"),
        ({"strategy": "mirrored", "devices": "CPU:0,CPU:0"}, "different names"),
        ({"strategy": "mirrored", "devices": "0"}, "a number or different"),
    ],
)
def test_what_cannot_be_had(arguments, message):
    with pytest.raises(ValueError, match=message):
        start_workers(**arguments)


def test_a_processor_is_not_divided_too_late():
    tf.constant(1)  # TensorFlow has begun
    with pytest.raises(ValueError, match="64 devices only before TensorFlow"):
        start_workers("mirrored", devices="64")


def test_a_divided_processor_keeps_its_devices(monkeypatch):
    def divide_again(*arguments):
        pytest.fail("there are four, and two are asked for")

    configure = "set_logical_device_configuration"
    monkeypatch.setattr(tf.config, configure, divide_again)
    divide_processor(2)


def test_devices_by_name():
    workers = start_workers("mirrored", devices="CPU:1,CPU:0")
    assert workers.strategy.num_replicas_in_sync == 2
    assert workers.is_chief and workers.all_gather("x") == ["x"]
