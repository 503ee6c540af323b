"""Layouts in Mesh-TensorFlow's words: which dimension is split over what."""

import contextlib

import tensorflow as tf

from moe_keras.experts.in_parts import (
    check_takes_local,
    check_weights_are_split,
)
from moe_keras.parallel.mesh import layout_checks
from moe_keras.parallel.mesh.mesh import Mesh
from moe_keras.parallel.mesh.run import ExchangeDispatcher, VisitDispatcher
from moe_keras.parallel.mesh.sharded_weight import ShardedWeight, split
from moe_keras.placement.placement import Placement
from moe_keras.placement.shards import mark
from moe_keras.placement.split_weight import made_at_once


class MeshLayout(Placement):
    """Splits experts and their tokens over a mesh of devices.

    Layouts do not affect results, only where they are computed. Names of
    dimensions that can be split:

    - `batch`: each device has a part of the tokens.
    - `experts`: each device has some of the experts.
    - `hidden`: each device has a part of every expert's hidden layer.

    With `batch` and `experts` on one dimension of the mesh, the scheme of
    the paper, tokens travel by all-to-all to the devices of their experts,
    and back. Otherwise the device that has all tokens sends each of the
    others those of its part that ask for its experts. Results of devices
    with other hidden units are added up by all-reduce. A mesh of two
    dimensions can split all three.

    Everything else of a model, the gate included, is where Keras puts it.

    Args:
        mesh_shape: str, names and sizes of the mesh's dimensions, as
            "data:2;model:2", or `mtf.Shape`.
        layout_rules: str, which dimension of tensors is split over which of
            the mesh, as "batch:data;experts:model", or `mtf.LayoutRules`.
        devices: List of names of devices, the last dimension of the mesh
            next to each other. By default the first GPUs, or CPUs if there
            are no GPUs.

    Raises:
        ValueError: if the strings do not say a layout, or there are not as
            many devices.

    Example:

    >>> from moe_keras import SparseMoE
    >>> layout = MeshLayout(
    ...     "all:2", "batch:all;experts:all", devices=["CPU:0", "CPU:0"]
    ... )
    >>> with layout.scope():
    ...     layer = SparseMoE(num_experts=4, k=2, hidden_dim=8)
    ...     y = layer(tf.ones((5, 3)))
    >>> [tuple(part.shape) for part in layer.experts.kernel_in.shards]
    [(2, 3, 8), (2, 3, 8)]
    """

    supports_jit = False  # one program for one device is all XLA compiles

    def __init__(self, mesh_shape, layout_rules, devices=None):
        shape = layout_checks.mesh_shape(mesh_shape)
        self.axes = layout_checks.mesh_axes(layout_rules, shape)
        self.mesh = Mesh(shape, [], layout_checks.devices(devices, shape))
        self.parts = {
            name: 1 if axis is None else shape.to_integer_list[axis]
            for name, axis in self.axes.items()
        }
        self._first_device = {}  # of each part
        for device in reversed(range(self.mesh.size)):
            self._first_device[self._part(device)] = device

    @property
    def exchanges(self):
        """Whether devices have slices of the batch, and exchange rows."""
        axis = self.axes["experts"]
        return axis is not None and axis == self.axes["batch"]

    @property
    def _splits_weights(self):
        return self.parts["experts"] * self.parts["hidden"] > 1

    def part_of(self, name, device):
        """Return the part of a dimension that a device has.

        Args:
            name: str. `batch`, `experts` or `hidden`.
            device: int. Number of a device of the mesh.

        Returns:
            int, 0 where the dimension is not split.
        """
        axis = self.axes[name]
        return 0 if axis is None else self.mesh.coordinates(device)[axis]

    def _part(self, device):
        return self.part_of("experts", device), self.part_of("hidden", device)

    def device_of_part(self, expert_part, hidden_part=0):
        """Name of the device that has the variables of a part of the experts.

        Where several devices run the same part, as with a batch split over a
        dimension of its own, it is the first of them; the others read it.
        """
        return self.mesh.devices[self._first_device[expert_part, hidden_part]]

    def check(self, experts):
        if getattr(experts, "splits", ()):
            check_takes_local(experts)
        if self._splits_weights:
            layout_checks.experts_can_be_split(experts, self.parts)
            check_weights_are_split(experts)

    def expert_scope(self, expert, num_experts):
        if not self._splits_weights:
            return super().expert_scope(expert, num_experts)
        sizes = {"experts": num_experts}
        layout_checks.sizes_divide(sizes, self.parts)
        part = expert * self.parts["experts"] // num_experts
        return _building_on(self.device_of_part(part))

    @property
    def splits_hidden(self):
        return self.parts["hidden"] > 1

    def add_weight(self, layer, name, draw, dims, side_by_side=1, **kwargs):
        if not self._splits_weights:
            return super().add_weight(
                layer, name, draw, dims, side_by_side, **kwargs
            )
        layout_checks.sizes_divide(dims, self.parts, side_by_side)
        shards = []
        for part, shard in split(dims, self.parts, side_by_side):
            with _building_on(self.device_of_part(*part)):
                variable = layer.add_weight(
                    name=f"{name}_shard_{len(shards)}",
                    shape=shard.part_shape,
                    initializer=_only_its_part(draw, shard),
                    **kwargs,
                )
            folder = variable.path.removesuffix(variable.name)
            mark(variable, shard._replace(path=f"{folder}{name}"))
            shards.append(variable)
        return ShardedWeight(name, shards)

    def dispatcher(self, routing, plan):
        made = ExchangeDispatcher if self.exchanges else VisitDispatcher
        return made(self, routing, plan)


@contextlib.contextmanager
def _building_on(device):
    """Context manager: create variables at once, on a device."""
    # Order matters: `init_scope` drops the device.
    with made_at_once(), tf.device(device):
        yield


def _only_its_part(draw, shard):
    """Make an initializer that holds only the shard and one expert."""

    def initialize(shape, dtype=None):
        experts = shard.pieces[0][0]
        whole_of_one = shard.shape[1:]
        return tf.stack(
            [
                shard.take_of_one(draw(expert, whole_of_one, dtype))
                for expert in range(experts.start, experts.stop)
            ]
        )

    return initialize
