"""Mesh-TensorFlow's mesh of devices, with gradients that stay on them.

TensorFlow runs the gradient of an operation on the current device, not on that
of the operation: one device would compute the backward pass of eight, with the
weights of all. So each verb here has a gradient of its own on the devices of
the verb, one for each device: a gradient for several devices would gather
their tensors on one of them.
"""

import functools

import tensorflow as tf

from moe_keras.gradients.custom_gradient import custom_gradient
from moe_keras.parallel.mesh.mesh_tensorflow_import import mtf

_placement_mesh = mtf.placement_mesh_impl


class Mesh(_placement_mesh.PlacementMeshImpl):
    """A mesh of devices, and the verbs that run on it.

    Tensors on it are `LaidOutTensor`s: lists with a slice for each device.

    Args:
        shape: `mtf.Shape`, names and sizes of the mesh's dimensions.
        layout_rules: `mtf.LayoutRules`.
        devices: List of names of as many devices, the last dimension's next
            to each other.

    Example:

    >>> shape = mtf.convert_to_shape("model:2")
    >>> mesh = Mesh(shape, mtf.LayoutRules([]), ["CPU:0", "CPU:0"])
    >>> x = mesh.LaidOutTensor([tf.constant([1, 2]), tf.constant([3, 4])])
    >>> [part.numpy().tolist() for part in mesh.exchange(x, 0).tensor_list]
    [[1, 3], [2, 4]]
    """

    def coordinates(self, device):
        """Coordinates of a device in the mesh, one for each dimension."""
        return mtf.pnum_to_processor_coordinates(
            self.shape.to_integer_list, device
        )

    def slicewise_with_gradient(self, function, *inputs):
        """Run a function on each device, forward and backward.

        Args:
            function: Function `(number of the device, *tensors) -> tensor`,
                differentiable by its tensors and by the variables it reads.
            *inputs: `LaidOutTensor`s of floating point.

        Returns:
            `LaidOutTensor`.
        """

        def run(number, *tensors):
            return _differentiate_on(
                self.devices[number],
                functools.partial(function, number),
                tensors,
            )

        return self.slicewise(run, self.laid_out_pnum(), *inputs)

    def exchange(self, x, mesh_axis):
        """All-to-all: slice g of device r becomes slice r of device g.

        It is its own gradient.

        Args:
            x: `LaidOutTensor`, each tensor of as many slices along its first
                axis as the mesh has devices along `mesh_axis`.
            mesh_axis: int.

        Returns:
            `LaidOutTensor`.
        """

        received = [None] * self.size
        for group in mtf.processor_groups(self.shape, [mesh_axis]):
            sent = [
                self._on(device, _split(len(group)), x.tensor_list[device])
                for device in group
            ]
            for place, device in enumerate(group):
                pieces = [slices[place] for slices in sent]
                received[device] = self._on(device, _join, *pieces)
        return self.LaidOutTensor(received)

    def sum_to(self, x, mesh_axes, chosen):
        """All-reduce, with results on some devices only.

        Args:
            x: `LaidOutTensor`.
            mesh_axes: List of int, the dimensions to sum over.
            chosen: List of numbers of devices.

        Returns:
            List of a tensor for each chosen device. The sum is the same on
            all devices of a group, and one of each group is enough.
        """
        return [
            self._on(
                device,
                _sum,
                *(x.tensor_list[d] for d in self._group(device, mesh_axes)),
            )
            for device in chosen
        ]

    def _on(self, device, function, *tensors):
        """Run a function on one device, forward and backward."""
        name = self.devices[device]
        with tf.device(name):
            if not tensors[0].dtype.is_floating:
                return function(*tensors)
            return _differentiate_on(name, function, tensors)

    def _group(self, device, mesh_axes):
        """List the devices that differ from one only in these dimensions."""
        for group in mtf.processor_groups(self.shape, mesh_axes):
            if device in group:
                return group
        return [device]


def _split(number):
    return lambda rows: tf.split(rows, number)


def _join(*pieces):
    return tf.concat(pieces, 0)


def _sum(*parts):
    return tf.add_n(parts)


def copy_to(tensor, source, devices):
    """Copy a tensor to several devices; the gradients are summed on its own.

    Args:
        tensor: Tensor.
        source: Name of the device that it is on.
        devices: List of names.

    Returns:
        List of tensors.

    Example:

    >>> weight = tf.Variable(2.0)
    >>> with tf.GradientTape() as tape:
    ...     a, b = copy_to(tf.convert_to_tensor(weight), "CPU:0", ["CPU:0"] * 2)
    ...     y = 3 * a + 4 * b
    >>> float(tape.gradient(y, weight))
    7.0
    """

    if devices == [source]:
        return [tensor]
    with tf.device(source):
        return list(
            _differentiate_on(
                source,
                lambda one: [tf.identity(one) for _ in devices],
                [tensor],
            )
        )


def _differentiate_on(device, function, tensors):
    """Call a function whose gradient runs on the given device."""

    @custom_gradient
    def run(*tensors):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(tensors)
            outputs = function(*tensors)

        def backward(*d_outputs, variables=()):
            sources = [*tensors, *variables]
            with tf.device(device):
                gradients = tape.gradient(
                    tf.nest.flatten(outputs), sources, list(d_outputs)
                )
                gradients = [_whole(gradient) for gradient in gradients]
            d_tensors = gradients[: len(tensors)]
            if not variables:
                return d_tensors
            return d_tensors, gradients[len(tensors) :]

        return outputs, backward

    return run(*tensors)


def _whole(gradient):
    """A gradient without slices, which no verb of a mesh takes."""
    is_slices = isinstance(gradient, tf.IndexedSlices)
    return tf.convert_to_tensor(gradient) if is_slices else gradient
