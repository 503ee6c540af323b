"""Tokens on their way through the experts of a mesh, and back.

    tokens (N, D) ──► parts of the batch (n, D), one for each device
      batch and experts on one dimension of the mesh:
        ──► rows for each device ──all-to-all──► experts ──all-to-all──►
      otherwise:
        ──► the experts that are here, for the tokens that are here ──►
    ──► combined (n, D') ──all-reduce over hidden, experts──► (N, D')

N: tokens    n: tokens of a device    D: depth    K: experts per token
"""

import tensorflow as tf

from moe_keras.dispatch import DispatchPlan, combine, dispatch
from moe_keras.parallel.exchange import (
    expert_of_rows,
    places_needed,
    plan_devices,
    serve,
)
from moe_keras.parallel.mesh import share
from moe_keras.parallel.sharded_weight import ShardedWeight
from moe_keras.placement import Part, at_work


def run_on_mesh(layout, experts, tokens, routing, plan):
    """`Placement.run` of a `MeshLayout`; see there for arguments and result."""
    batch = _Batch(layout, tokens, routing, plan)
    run = _by_exchange if layout.exchanges else _in_place
    outputs = run(layout, experts, batch)
    return _join(layout, outputs, tf.shape(tokens)[0])


class _Batch:
    """A batch with its routing, laid out on the mesh.

    Each device's part is of one size, n; behind the last tokens is padding,
    which has no experts.

    Attributes:
        tokens: `LaidOutTensor` of `(n, D)`.
        gate: `LaidOutTensor` of `(n, K)`.
        expert_index: `LaidOutTensor` of `(n, K)`; -1 is no expert.
        num_experts: int.
        places: Scalar int32 tensor. The most choices that any part of the
            batch has for any part of the experts; None without an exchange.
    """

    def __init__(self, layout, tokens, routing, plan):
        expert_NK = tf.where(_has_slot(plan), routing.expert_index, -1)
        num_tokens = tf.shape(tokens)[0]
        num_parts = layout.parts["batch"]
        size = tf.maximum(-(-num_tokens // num_parts), 1)
        self.num_experts = plan.counts.shape[0]
        self.places = None
        if layout.exchanges:
            self.places = places_needed(
                expert_NK,
                tf.range(num_tokens) // size,
                self.num_experts // num_parts,
                num_parts,
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
        self.gate = lay_out(routing.gate, 0)
        self.expert_index = lay_out(expert_NK, -1)


def _has_slot(plan):
    """Which choices were not dropped, bool `(N, K)`."""
    if plan.has_slot is not None:
        return tf.transpose(plan.has_slot)
    # Segments: choices without an expert come last.
    return tf.transpose(plan.slot_index < tf.reduce_sum(plan.counts))


def _in_place(layout, experts, batch):
    def run(device, tokens_nD, gate_nK):
        expert_nK = batch.expert_index.tensor_list[device]
        return serve(experts, tokens_nD, expert_nK, gate_nK)

    return _run_parts(
        layout, experts, batch.num_experts, run, batch.tokens, batch.gate
    )


def _by_exchange(layout, experts, batch):
    mesh, axis = layout.mesh, layout.axes["experts"]
    num_parts = layout.parts["experts"]
    experts_each = batch.num_experts // num_parts
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

    results = _run_parts(layout, experts, batch.num_experts, run, rows)
    return mesh.slicewise_with_gradient(
        lambda device, rows, gate_nK: combine(rows, plans[device], gate_nK),
        mesh.exchange(results, axis),
        batch.gate,
    )


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


def _join(layout, outputs, num_tokens):
    """Sums what devices have in part, and joins the parts of the batch."""
    axes = {layout.axes["hidden"], layout.axes["experts"]} - {None}
    if layout.exchanges:
        axes.discard(layout.axes["experts"])
    first = {}
    for device in reversed(range(layout.mesh.size)):
        first[layout.part_of("batch", device)] = device
    parts = layout.mesh.sum_to(
        outputs, sorted(axes), [first[part] for part in sorted(first)]
    )
    return tf.concat(parts, 0)[:num_tokens]
