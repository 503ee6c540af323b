"""Dispatchers of a mesh: tokens to the devices of their experts, and back.

The batch (N, D) comes from one device, and its results go back there.

    ExchangeDispatcher, for batch and experts on one dimension of the mesh:
      slices of the batch (n, D), one for each device
      --> rows for each device --all-to-all--> experts --all-to-all-->
      combined (n, D') --> (N, D')
    VisitDispatcher, otherwise:
      rows of the tokens that ask for the experts of a device (S, D)
      --> experts, combined where they are (S, D') --> combined (N, D')

Where the hidden layer is split, its results are added up on the way back.

N: tokens    n: tokens of a device    D: depth    K: experts per token
S: visits of tokens to a device
"""

import tensorflow as tf

from moe_keras.dispatch import DispatchPlan, combine, dispatch
from moe_keras.parallel.exchange import (
    expert_of_rows,
    places_needed,
    plan_devices,
    plan_visits,
    run_local_experts,
)
from moe_keras.parallel.mesh.mesh import copy_to
from moe_keras.placement.local_experts import LocalExperts
from moe_keras.placement.split_weight import SplitWeight


class VisitDispatcher:
    """Sends each device the tokens that ask for its experts, and no others.

    Args:
        layout: `MeshLayout`.
        routing: `Routing` of the tokens.
        plan: `DispatchPlan` of it. Only which choices have a slot counts.
    """

    def __init__(self, layout, routing, plan):
        self._layout = layout
        self._num_experts = plan.counts.shape[0]
        expert_NK = _expert_with_slot(routing, plan)
        num_tokens = tf.shape(expert_NK)[0]
        num_parts = layout.parts["batch"] * layout.parts["experts"]
        # Each slice of the batch has experts of its own, as far as the plan
        # of the visits knows.
        size = _slice_size(num_tokens, layout)
        offset_N1 = self._num_experts * (tf.range(num_tokens) // size)[:, None]
        self._plan = plan_visits(
            tf.where(expert_NK < 0, -1, expert_NK + offset_N1),
            self._num_experts // layout.parts["experts"],
            num_parts,
        )
        visits = tf.size(self._plan.token_index)
        self._unused = visits - tf.reduce_sum(self._plan.counts)
        self._sizes = tf.concat([self._plan.counts, [self._unused]], 0)
        self._expert_of_row = self._lay_out(
            tf.gather(expert_NK, self._plan.token_index)
        )
        self._gate_of_row = self._lay_out(dispatch(routing.gate, self._plan))

    def dispatch(self, tokens):
        return self._lay_out(dispatch(tokens, self._plan))

    def run(self, experts, rows):
        def run(device, local, rows, gate_rows):
            expert_index = self._expert_of_row.tensor_list[device]
            return run_local_experts(
                experts, local, rows, expert_index, gate_rows
            )

        return _run_on_devices(
            self._layout,
            experts,
            self._num_experts,
            run,
            rows,
            self._gate_of_row,
        )

    def combine(self, results):
        outputs = _sum_hidden_parts(self._layout, results, self._part_of)
        rest = tf.zeros([self._unused, outputs[0].shape[-1]], outputs[0].dtype)
        return combine(tf.concat([*outputs, rest], 0), self._plan)

    def _part_of(self, device):
        part = self._layout.part_of("batch", device)
        part *= self._layout.parts["experts"]
        return part + self._layout.part_of("experts", device)

    def _lay_out(self, rows):
        parts = tf.split(rows, self._sizes, num=self._sizes.shape[0])
        mesh = self._layout.mesh
        return mesh.LaidOutTensor(
            [parts[self._part_of(device)] for device in range(mesh.size)]
        )


class ExchangeDispatcher:
    """Slices the batch, and lets the devices exchange rows of it.

    All slices have one size, n; behind the last tokens is padding, which has
    no experts.

    Args:
        layout: `MeshLayout`.
        routing: `Routing` of the tokens.
        plan: `DispatchPlan` of it. Only which choices have a slot counts.
    """

    def __init__(self, layout, routing, plan):
        self._layout = layout
        self._num_experts = plan.counts.shape[0]
        # Cut the batch into slices. Each device sorts the rows of its slice by
        # the device of their experts, in as many places for every device.
        expert_NK = _expert_with_slot(routing, plan)
        mesh, num_parts = layout.mesh, layout.parts["experts"]
        self._num_tokens = tf.shape(expert_NK)[0]
        self._size = _slice_size(self._num_tokens, layout)
        source_N = tf.range(self._num_tokens) // self._size
        each = self._num_experts // num_parts
        places = places_needed(expert_NK, source_N, each, num_parts)
        expert_index = self._lay_out(expert_NK, padding=-1)
        plans = mesh.slicewise(
            lambda expert_nK: plan_devices(expert_nK, each, num_parts, places),
            expert_index,
        )
        self._plans = [
            DispatchPlan(*(field.tensor_list[device] for field in plans))
            for device in range(mesh.size)
        ]
        expert_of_row = mesh.slicewise(
            lambda device, expert_nK: expert_of_rows(
                expert_nK, self._plans[device]
            ),
            mesh.laid_out_pnum(),
            expert_index,
        )
        self._expert_of_row = self._exchange(expert_of_row)
        self._gate = self._lay_out(routing.gate)

    def dispatch(self, tokens):
        rows = self._layout.mesh.slicewise_with_gradient(
            lambda device, tokens_nD: dispatch(tokens_nD, self._plans[device]),
            self._lay_out(tokens),
        )
        return self._exchange(rows)

    def run(self, experts, rows):
        def run(device, local, rows):
            expert_index = self._expert_of_row.tensor_list[device][:, None]
            return run_local_experts(experts, local, rows, expert_index)

        return _run_on_devices(
            self._layout, experts, self._num_experts, run, rows
        )

    def combine(self, results):
        combined = self._layout.mesh.slicewise_with_gradient(
            lambda device, rows, gate_nK: combine(
                rows, self._plans[device], gate_nK
            ),
            self._exchange(results),
            self._gate,
        )
        outputs = _sum_hidden_parts(
            self._layout,
            combined,
            lambda device: self._layout.part_of("batch", device),
        )
        return tf.concat(outputs, 0)[: self._num_tokens]

    def _exchange(self, x):
        return self._layout.mesh.exchange(x, self._layout.axes["experts"])

    def _lay_out(self, x, padding=0):
        num_slices, mesh = self._layout.parts["batch"], self._layout.mesh
        behind = [[0, num_slices * self._size - self._num_tokens], [0, 0]]
        slices = tf.split(
            tf.pad(x, behind, constant_values=padding), num_slices
        )
        return mesh.LaidOutTensor(
            [
                slices[self._layout.part_of("batch", device)]
                for device in range(mesh.size)
            ]
        )


def _expert_with_slot(routing, plan):
    """Expert index `(N, K)`, -1 for choices that the plan has dropped."""
    return tf.where(plan.choices_with_slot(), routing.expert_index, -1)


def _slice_size(num_tokens, layout):
    """Tokens of each slice of the batch; the last ones may have fewer."""
    return tf.maximum(-(-num_tokens // layout.parts["batch"]), 1)


def _sum_hidden_parts(layout, results, part_of):
    """Sum the results of devices that have other hidden units.

    Args:
        layout: `MeshLayout`.
        results: `LaidOutTensor`.
        part_of: Function of the number of a device: which part of the batch
            and of the experts it has.

    Returns:
        List of tensors, of each part on the first device that has it.
    """
    first = {}
    for device in reversed(range(layout.mesh.size)):
        first[part_of(device)] = device
    hidden = layout.axes["hidden"]
    return layout.mesh.sum_to(
        results,
        [] if hidden is None else [hidden],
        [first[part] for part in sorted(first)],
    )


def _run_on_devices(layout, experts, num_experts, run, *inputs):
    """Let each device run its experts.

    Args:
        layout: `MeshLayout`.
        experts: Layer of experts.
        num_experts: int. Of all devices.
        run: Function `(number of the device, LocalExperts, *tensors) ->
            tensor`.
        *inputs: `LaidOutTensor`s.

    Returns:
        `LaidOutTensor`.

    Raises:
        ValueError: If the experts call `add_loss`.
    """
    # The layer runs once for each device, with the tensors of that device in
    # a `LocalExperts`: shards of split weights come in with the inputs.
    weights = getattr(experts, "placed_weights", {})
    split = {
        name: weight
        for name, weight in weights.items()
        if isinstance(weight, SplitWeight)
    }
    # Those that cannot train, such as packed kernels, are brought to all
    # devices as they are.
    fixed = {
        name: _lay_out_weight(layout, split.pop(name), dtype=None)
        for name in list(split)
        if not split[name].variables[0].trainable
    }
    experts_each = num_experts // layout.parts["experts"]
    dtype = inputs[0].tensor_list[0].dtype
    losses = len(experts.losses)

    def run_on_device(device, *tensors):
        shards = tensors[len(inputs) :]
        local = LocalExperts(
            weights={
                # Weights that are not split have their gradient from here.
                **{
                    name: tf.convert_to_tensor(weight)
                    for name, weight in weights.items()
                    if name not in split and name not in fixed
                },
                **{name: x.tensor_list[device] for name, x in fixed.items()},
                **dict(zip(split, shards, strict=True)),
            },
            first_expert=layout.part_of("experts", device) * experts_each,
            num_experts=experts_each,
            hidden_part=layout.part_of("hidden", device),
            device_index=device,
        )
        return run(device, local, *tensors[: len(inputs)])

    results = layout.mesh.slicewise_with_gradient(
        run_on_device,
        *inputs,
        *(_lay_out_weight(layout, split[name], dtype) for name in split),
    )
    if len(experts.losses) > losses:
        raise ValueError(
            "Experts that call `add_loss` cannot run under a layout: the "
            f"gradient of the loss would be lost. Received: {experts}"
        )
    return results


def _lay_out_weight(layout, weight, dtype):
    """The shards of a weight, each on all devices that run its part.

    Cast to `dtype`, unless it is None.
    """
    # Find the devices that run each shard's experts and hidden units, and
    # copy the shard from the device that has the variable to all of them.
    mesh = layout.mesh
    hidden_parts = len(weight.shards) // layout.parts["experts"]
    users = [[] for _ in weight.shards]
    for device in range(mesh.size):
        expert_part = layout.part_of("experts", device)
        hidden_part = layout.part_of("hidden", device) % hidden_parts
        users[expert_part * hidden_parts + hidden_part].append(device)
    slices = [None] * mesh.size
    for number, shard in enumerate(weight.shards):
        source = layout.device_of_part(*divmod(number, hidden_parts))
        with tf.device(source):
            tensor = tf.convert_to_tensor(shard)
            tensor = tensor if dtype is None else tf.cast(tensor, dtype)
        names = [mesh.devices[device] for device in users[number]]
        copies = copy_to(tensor, source, names)
        for device, copy in zip(users[number], copies, strict=True):
            slices[device] = copy
    return mesh.LaidOutTensor(slices)
