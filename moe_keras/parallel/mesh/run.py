"""Tokens on their way through the experts of a mesh, and back.

The batch (N, D) comes from one device, and its results go back there.

    batch and experts on one dimension of the mesh:
      parts of the batch (n, D), one for each device
      ──► rows for each device ──all-to-all──► experts ──all-to-all──►
      combined (n, D') ──► (N, D')
    otherwise:
      rows of the tokens that ask for the experts of a device (S, D)
      ──► experts, combined where they are (S, D') ──► combined (N, D')

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
    serve,
)
from moe_keras.parallel.mesh.mesh import share
from moe_keras.parallel.mesh.sharded_weight import ShardedWeight
from moe_keras.placement.placement import Part, at_work


def run_on_mesh(layout, experts, tokens, routing, plan):
    """`Placement.run` of a `MeshLayout`; see there for arguments and result."""
    expert_NK = tf.where(plan.choices_with_slot(), routing.expert_index, -1)
    num_experts = plan.counts.shape[0]
    run = _by_exchange if layout.exchanges else _by_visits
    return run(layout, experts, num_experts, tokens, routing.gate, expert_NK)


def _by_visits(layout, experts, num_experts, tokens, gate, expert_NK):
    """Sends each device the tokens that ask for its experts, and no others."""
    experts_each = num_experts // layout.parts["experts"]
    num_parts = layout.parts["batch"] * layout.parts["experts"]

    def part_of(device):
        part = layout.part_of("batch", device) * layout.parts["experts"]
        return part + layout.part_of("experts", device)

    # Each part of the batch has experts of its own, as far as the plan knows.
    size = _part_size(tf.shape(tokens)[0], layout)
    offset_N1 = num_experts * (tf.range(tf.shape(tokens)[0]) // size)[:, None]
    plan = plan_visits(
        tf.where(expert_NK < 0, -1, expert_NK + offset_N1),
        experts_each,
        num_parts,
    )
    nobody = tf.size(plan.token_index) - tf.reduce_sum(plan.counts)
    sizes = tf.concat([plan.counts, [nobody]], 0)

    def lay_out(rows):
        parts = tf.split(rows, sizes, num=num_parts + 1)
        return layout.mesh.LaidOutTensor(
            [parts[part_of(device)] for device in range(layout.mesh.size)]
        )

    whom = lay_out(tf.gather(expert_NK, plan.token_index))

    def run(device, rows, gate_rows):
        return serve(experts, rows, whom.tensor_list[device], gate_rows)

    results = _run_parts(
        layout,
        experts,
        num_experts,
        run,
        lay_out(dispatch(tokens, plan)),
        lay_out(dispatch(gate, plan)),
    )
    outputs = _sum_parts(layout, results, part_of)
    rest = tf.zeros([nobody, outputs[0].shape[-1]], outputs[0].dtype)
    return combine(tf.concat([*outputs, rest], 0), plan)


def _part_size(num_tokens, layout):
    """Tokens of each part of the batch; the last ones may have fewer."""
    return tf.maximum(-(-num_tokens // layout.parts["batch"]), 1)


def _sum_parts(layout, results, part_of):
    """A tensor for each part, the sum over those of its hidden layer.

    Args:
        layout: `MeshLayout`.
        results: `LaidOutTensor`.
        part_of: Function of the number of a device, which part it has.

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


class _Batch:
    """A batch with its routing, laid out on the mesh.

    Each device's part is of one size, n; behind the last tokens is padding,
    which has no experts.

    Attributes:
        tokens: `LaidOutTensor` of `(n, D)`.
        gate: `LaidOutTensor` of `(n, K)`.
        expert_index: `LaidOutTensor` of `(n, K)`; -1 is no expert.
        places: Scalar int32 tensor. The most choices that any part of the
            batch has for any part of the experts.
    """

    def __init__(self, layout, experts_each, tokens, gate, expert_NK):
        num_tokens = tf.shape(tokens)[0]
        num_parts = layout.parts["batch"]
        size = _part_size(num_tokens, layout)
        self.places = places_needed(
            expert_NK, tf.range(num_tokens) // size, experts_each, num_parts
        )
        devices = range(layout.mesh.size)

        def lay_out(x, padding):
            behind = [[0, num_parts * size - num_tokens], [0, 0]]
            padded = tf.pad(x, behind, constant_values=padding)
            parts = tf.split(padded, num_parts)
            return layout.mesh.LaidOutTensor(
                [parts[layout.part_of("batch", device)] for device in devices]
            )

        self.tokens = lay_out(tokens, 0)
        self.gate = lay_out(gate, 0)
        self.expert_index = lay_out(expert_NK, -1)


def _by_exchange(layout, experts, num_experts, tokens, gate, expert_NK):
    """Shares the batch out, and lets the devices exchange rows of it."""
    mesh, axis = layout.mesh, layout.axes["experts"]
    num_parts = layout.parts["experts"]
    experts_each = num_experts // num_parts
    batch = _Batch(layout, experts_each, tokens, gate, expert_NK)
    plans = mesh.slicewise(
        lambda expert_nK: plan_devices(
            expert_nK, experts_each, num_parts, batch.places
        ),
        batch.expert_index,
    )
    plans = [
        DispatchPlan(*(field.tensor_list[device] for field in plans))
        for device in range(mesh.size)
    ]
    whom = mesh.slicewise(
        lambda device, expert_nK: expert_of_rows(expert_nK, plans[device]),
        mesh.laid_out_pnum(),
        batch.expert_index,
    )
    rows = mesh.slicewise_with_gradient(
        lambda device, tokens_nD: dispatch(tokens_nD, plans[device]),
        batch.tokens,
    )
    whom, rows = mesh.exchange(whom, axis), mesh.exchange(rows, axis)

    def run(device, rows):
        return serve(experts, rows, whom.tensor_list[device][:, None])

    results = _run_parts(layout, experts, num_experts, run, rows)
    combined = mesh.slicewise_with_gradient(
        lambda device, rows, gate_nK: combine(rows, plans[device], gate_nK),
        mesh.exchange(results, axis),
        batch.gate,
    )
    outputs = _sum_parts(
        layout, combined, lambda device: layout.part_of("batch", device)
    )
    return tf.concat(outputs, 0)[: tf.shape(tokens)[0]]


def _run_parts(layout, experts, num_experts, run, *inputs):
    """Lets each device run its part of the experts.

    Args:
        layout: `MeshLayout`.
        experts: Layer of experts.
        num_experts: int. Of all devices.
        run: Function `(number of the device, *tensors) -> tensor`.
        *inputs: `LaidOutTensor`s.

    Returns:
        `LaidOutTensor`.
    """
    weights = [
        weight
        for weight in vars(experts).values()
        if isinstance(weight, ShardedWeight)
    ]
    dtype = inputs[0].tensor_list[0].dtype
    experts_each = num_experts // layout.parts["experts"]

    def run_part(device, *tensors):
        shards = tensors[len(inputs) :]
        part = Part(
            tensors={
                id(weight): shard
                for weight, shard in zip(weights, shards, strict=True)
            },
            first_expert=layout.part_of("experts", device) * experts_each,
            num_experts=experts_each,
            hidden_part=layout.part_of("hidden", device),
            number=device,
        )
        with at_work(part):
            return run(device, *tensors[: len(inputs)])

    return layout.mesh.slicewise_with_gradient(
        run_part,
        *inputs,
        *(_lay_out_weight(layout, weight, dtype) for weight in weights),
    )


def _lay_out_weight(layout, weight, dtype):
    """The shards of a weight, each on all devices that have its part."""
    mesh = layout.mesh
    hidden_parts = len(weight.shards) // layout.parts["experts"]
    users = [[] for _ in weight.shards]
    for device in range(mesh.size):
        expert_part = layout.part_of("experts", device)
        hidden_part = layout.part_of("hidden", device) % hidden_parts
        users[expert_part * hidden_parts + hidden_part].append(device)
    slices = [None] * mesh.size
    for number, shard in enumerate(weight.shards):
        home = layout.home_of(*divmod(number, hidden_parts))
        with tf.device(home):
            tensor = tf.cast(tf.convert_to_tensor(shard), dtype)
        names = [mesh.devices[device] for device in users[number]]
        copies = share(tensor, home, names)
        for device, copy in zip(users[number], copies, strict=True):
            slices[device] = copy
    return mesh.LaidOutTensor(slices)
