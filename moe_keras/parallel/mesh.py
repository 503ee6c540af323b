"""Mesh-TensorFlow's mesh of devices, with gradients that stay on them.

TensorFlow lets the gradient of an operation run on the device of the moment,
and not on that of the operation: what eight devices computed forward, one
would compute backward, with the weights of all. So each verb here has a
gradient of its own, on the devices of the verb.
"""

import functools

import tensorflow as tf

from moe_keras.parallel.mesh_tensorflow_import import mtf

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
        """Where a device stands in the mesh, a number for each dimension."""
        return mtf.pnum_to_processor_coordinates(
            self.shape.to_integer_list, device
        )

    def slicewise_with_gradient(self, function, *inputs):
        """Runs a function on each device, forward and backward.

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

        @tf.custom_gradient
        def run(*parts):
            def backward(*d_parts):
                return self._alltoall(d_parts, mesh_axis)

            return self._alltoall(parts, mesh_axis), backward

        return self.LaidOutTensor(list(run(*x.tensor_list)))

    def sum_to(self, x, mesh_axes, chosen):
        """All-reduce, of which the caller takes the results of some devices.

        Args:
            x: `LaidOutTensor`.
            mesh_axes: List of int, the dimensions to sum over.
            chosen: List of numbers of devices.

        Returns:
            List of a tensor for each chosen device. The sum is the same on
            all devices of a group, and one of each group is enough.
        """
        groups = [self._group(device, mesh_axes) for device in chosen]

        @tf.custom_gradient
        def run(*parts):
            def backward(*d_sums):
                d_parts = [None] * self.size
                for group, d_sum in zip(groups, d_sums, strict=True):
                    for device in group:
                        with tf.device(self.devices[device]):
                            d_parts[device] = tf.identity(d_sum)
                return d_parts

            sums = self.allreduce(
                self.LaidOutTensor(list(parts)), mesh_axes, "SUM"
            )
            # What was not summed comes back itself, which a gradient minds.
            return [
                tf.identity(sums.tensor_list[device]) for device in chosen
            ], backward

        return list(run(*x.tensor_list))

    def _group(self, device, mesh_axes):
        """The devices that differ from one in some dimensions only."""
        for group in mtf.processor_groups(self.shape, mesh_axes):
            if device in group:
                return group
        return [device]

    def _alltoall(self, parts, mesh_axis):
        # Mesh-TensorFlow's own verb sends in a ring, past devices that need
        # nothing of it; its direct one sends each slice once.
        direct = functools.partial(
            _placement_mesh.alltoall_pointtwise, split_axis=0, concat_axis=0
        )
        sent = self._collective_with_groups(
            self.LaidOutTensor(list(parts)), [mesh_axis], direct
        )
        return sent.tensor_list


def share(tensor, home, devices):
    """Brings a tensor to several devices; the gradients are summed at home.

    Args:
        tensor: Tensor.
        home: Name of the device that it is on.
        devices: List of names.

    Returns:
        List of tensors.

    Example:

    >>> weight = tf.Variable(2.0)
    >>> with tf.GradientTape() as tape:
    ...     a, b = share(tf.convert_to_tensor(weight), "CPU:0", ["CPU:0"] * 2)
    ...     y = 3 * a + 4 * b
    >>> float(tape.gradient(y, weight))
    7.0
    """

    @tf.custom_gradient
    def run(tensor):
        def backward(*d_copies):
            with tf.device(home):
                return tf.add_n(d_copies)

        copies = []
        for device in devices:
            with tf.device(device):
                copies.append(tf.identity(tensor))
        return copies, backward

    return [tensor] if devices == [home] else run(tensor)


def _differentiate_on(device, function, tensors):
    """Calls a function whose gradient runs on a device of its own."""

    @tf.custom_gradient
    def run(*tensors):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(tensors)
            outputs = function(*tensors)

        def backward(d_outputs, variables=()):
            sources = [*tensors, *variables]
            with tf.device(device):
                gradients = tape.gradient(outputs, sources, d_outputs)
            d_tensors = gradients[: len(tensors)]
            if not variables:
                return d_tensors
            return d_tensors, gradients[len(tensors) :]

        return outputs, backward

    return run(*tensors)
