"""What a run of a graph sends between devices, and what it allocates there.

Nothing has to be told which of its operations communicate: TensorFlow cuts a
graph into one for each device, with a pair of Send and Recv wherever a tensor
crosses. The graph of a `tf.function` is run in a session that traces it;
each Send that was run counts with the bytes of the tensor it was given. On one
machine the devices may be logical ones of a single processor.

Sums by collective operations, as those between processes, are no Sends. There
are none in graphs of one process, as `MeshLayout` and `MirroredStrategy` with
`ReductionToOneDevice` make them; a graph that has one is refused.
"""

import collections
import math
import statistics
from typing import NamedTuple

import tensorflow as tf

_SENDS = ("_Send", "_HostSend")
_SMALL = 1024  # bytes; sizes, counts and the like
_RUNS = 5  # whose memory is looked at
_HALFWAY = "halfway"


class Crossing(NamedTuple):
    """One tensor on its way.

    Attributes:
        source: str. Name of the device that sends.
        target: str. Name of the device that receives.
        tensor: str. Name of the operation that made it.
        bytes: int.
    """

    source: str
    target: str
    tensor: str
    bytes: int


class Trace(NamedTuple):
    """What was seen of one run.

    Attributes:
        crossings: List of `Crossing`.
        peaks: dict of the bytes that were allocated at the height of the run,
            by device; variables are not among them.
        kept: dict of the bytes that were allocated on the way from the forward
            to the backward pass, where `halfway` stands in the function.

    Memory is that of a few runs, because a busy machine frees some tensors
    late, and takes operations in other orders: of `peaks` the median, of what
    is `kept`, to which tensors that are free already only add, the least.
    """

    crossings: list
    peaks: dict
    kept: dict

    @property
    def bytes(self):
        """Bytes of all that crossed."""
        return sum(crossing.bytes for crossing in self.crossings)

    @property
    def small_bytes(self):
        """Bytes of tensors so small that they are no data."""
        return sum(c.bytes for c in self.crossings if c.bytes <= _SMALL)


def trace(function, *arguments):
    """Runs a `tf.function` a few times and sees what crosses.

    The variables of the function are copied: theirs do not change.

    Args:
        function: `tf.function`.
        *arguments: Tensors.

    Returns:
        `Trace`.

    Raises:
        ValueError: if the graph has collective operations.

    Example:

    >>> add = tf.function(lambda x: x + 1.0)
    >>> trace(add, tf.ones(1000)).crossings
    []
    """
    concrete = function.get_concrete_function(*arguments)
    values = [_captured(*pair) for pair in concrete.graph.captures]
    runs = _run(concrete, values, [a.numpy() for a in arguments])
    return Trace(
        _crossings(runs[0]),
        _over_runs(statistics.median, map(_peaks, runs)),
        _over_runs(min, map(_kept, runs)),
    )


def halfway(d_outputs, outputs):
    """Starts a backward pass when the forward pass has ended.

    Args:
        d_outputs: Variable, the gradient of the outputs.
        outputs: List of tensors, all that the forward pass is for.

    Returns:
        Tensor, the value of `d_outputs`.

    Example:

    >>> float(halfway(tf.Variable(2.0), [tf.constant(1.0)]))
    2.0
    """
    with tf.control_dependencies(outputs), tf.name_scope(_HALFWAY):
        return d_outputs.read_value()


class _Captured(NamedTuple):
    name: str  # of the tensor in the graph that stands for it
    value: object  # numpy array
    device: str | None  # of a variable; None for a constant


def _captured(outer, inner):
    if outer.dtype != tf.resource:
        return _Captured(inner.name, outer.numpy(), None)
    (handle,) = outer._handle_data.shape_and_type
    value = tf.raw_ops.ReadVariableOp(resource=outer, dtype=handle.dtype)
    return _Captured(inner.name, value.numpy(), outer.device)


def _run(concrete, captured, arguments):
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        inputs = {}
        for number, (name, value, device) in enumerate(captured):
            with graph.device(device):
                inputs[name] = (
                    tf.constant(value)
                    if device is None
                    else v1.get_variable(
                        f"v{number}", initializer=value, use_resource=True
                    ).handle
                )
        own = [i for i in concrete.graph.inputs if i.name not in inputs]
        feeds = {}  # constants would be folded, away from where they are used
        for tensor, value in zip(own, arguments, strict=True):
            inputs[tensor.name] = v1.placeholder(value.dtype, value.shape)
            feeds[inputs[tensor.name]] = value
        results = tf.graph_util.import_graph_def(
            concrete.graph.as_graph_def(),
            input_map=inputs,
            return_elements=[
                *(o.name for o in concrete.graph.outputs),
                *(o.name for o in concrete.graph.control_outputs),
            ],
            name="",
        )
        count = len(tf.config.list_logical_devices("CPU"))
        config = v1.ConfigProto(device_count={"CPU": count})
        options = v1.RunOptions(
            trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True
        )
        traces = [v1.RunMetadata() for _ in range(_RUNS)]
        with v1.Session(graph=graph, config=config) as session:
            session.run(v1.global_variables_initializer())
            session.run(results, feeds)  # updates copy what initializers hold
            for metadata in traces:
                session.run(results, feeds, options, metadata)
    return traces


def _crossings(metadata):
    sizes = collections.defaultdict(int)
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            for output in node.output:
                # Not what is allocated: pieces of a tensor share its memory.
                seen = output.tensor_description
                number = math.prod(dim.size for dim in seen.shape.dim)
                size = tf.as_dtype(seen.dtype).size
                sizes[node.node_name, output.slot] += number * size
    found = []
    for part in metadata.partition_graphs:
        for node in part.node:
            if node.op.startswith("Collective"):
                raise ValueError(
                    "Collective operations are not counted. Received: "
                    f"{node.op} {node.name}"
                )
            if node.op not in _SENDS:
                continue
            name, _, slot = node.input[0].partition(":")
            found.append(
                Crossing(
                    source=node.attr["send_device"].s.decode(),
                    target=node.attr["recv_device"].s.decode(),
                    tensor=name,
                    bytes=sizes[name, int(slot or 0)],
                )
            )
    return [crossing for crossing in found if crossing.bytes]


def _over_runs(figure, by_device):
    """A figure of several numbers, for each device."""
    by_device = list(by_device)
    return {
        device: figure(held[device] for held in by_device)
        for device in by_device[0]
    }


def _peaks(metadata):
    return {
        device.device: max(held for _, held in _allocated(device))
        for device in metadata.step_stats.dev_stats
    }


def _kept(metadata):
    begun = {
        device.device: node.all_start_micros
        for device in metadata.step_stats.dev_stats
        for node in device.node_stats
        if _HALFWAY in node.node_name.split("/")
    }
    if not begun:
        return {}
    kept = {}
    for device in metadata.step_stats.dev_stats:
        until = begun.get(device.device, min(begun.values()))
        held = [held for time, held in _allocated(device) if time <= until]
        kept[device.device] = held[-1]
    return kept


def _allocated(device):
    """Bytes that are allocated on a device, after each time that changes."""
    records = sorted(
        (record.alloc_micros, record.alloc_bytes)
        for node in device.node_stats
        for memory in node.memory
        for record in memory.allocation_records
    )
    held = [(0, 0)]
    for time, size in records:
        held.append((time, held[-1][1] + size))
    return held
