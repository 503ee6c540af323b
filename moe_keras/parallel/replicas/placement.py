"""Experts split over the replicas of `tf.distribute`.

    replica r has    E / R experts, whose weights are nowhere else
                     its rows of the batch, N / R tokens

    tokens (n, D) -> rows for each replica (R C, D) --all-to-all--> rows for
    the experts here -> experts -> rows --all-to-all--> back -> tokens (n, D')

n: tokens of a replica    D: depth    E: experts    R: replicas
C: places for each replica
"""

import tensorflow as tf
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope,  # no public name
)

from moe_keras.dispatch import combine, dispatch
from moe_keras.experts.in_parts import (
    check_takes_local,
    check_weights_are_split,
)
from moe_keras.experts.stacked import StackedExperts
from moe_keras.parallel.exchange import (
    expert_of_rows,
    plan_devices,
    run_local_experts,
)
from moe_keras.parallel.replicas.exchange import all_to_all
from moe_keras.parallel.replicas.weight import ReplicaWeight
from moe_keras.placement.local_experts import LocalExperts
from moe_keras.placement.placement import Placement
from moe_keras.placement.replicas import (
    gather_over_replicas,
    num_replicas,
    replica_index,
)
from moe_keras.placement.shards import shard_of
from moe_keras.placement.split_weight import made_at_once


class ReplicaPlacement(Placement):
    """Splits the experts of every layer over the replicas of a strategy.

    Tokens go to the replicas of their experts by all-to-all, and back. Results
    are the same as with all experts on every replica.

    Use it together with the scope of the strategy, and call the model within
    `strategy.run`. Do not sum gradients of split weights over replicas: they
    already include the tokens of all replicas. `trainers.engine.train_step`
    leaves them out of the sum; Keras' `fit` does not.

    Args:
        strategy: `tf.distribute.MirroredStrategy` or
            `MultiWorkerMirroredStrategy`.

    Raises:
        ValueError: When a layer is built, for experts that cannot be shared
            out.

    Example:

    >>> from moe_keras import SparseMoE
    >>> strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    >>> with strategy.scope(), ReplicaPlacement(strategy).scope():
    ...     layer = SparseMoE(num_experts=4, k=2, hidden_dim=8)
    ...     layer.build((None, 3))
    >>> layer.experts.kernel_in.shape
    (4, 3, 8)
    """

    supports_jit = False  # the exchange is between programs

    def __init__(self, strategy):
        self._strategy = strategy
        self._number = strategy.num_replicas_in_sync

    def check(self, experts):
        if not isinstance(experts, StackedExperts):
            raise ValueError(
                "To be shared out to replicas, experts must be a "
                "`moe_keras.experts.stacked.StackedExperts`, such as "
                f"`FeedForwardExperts`. Received: {experts}"
            )
        check_takes_local(experts)
        check_weights_are_split(experts)

    def add_weight(self, layer, name, draw, dims, side_by_side=1, **kwargs):
        num_experts, *rest = dims.values()
        each, remainder = divmod(num_experts, self._number)
        if remainder:
            raise ValueError(
                f"{num_experts} experts cannot be shared out to "
                f"{self._number} replicas: take {each * self._number} or "
                f"{(each + 1) * self._number} experts."
            )
        with self._strategy.scope(), made_at_once():
            variable = layer.add_weight(
                name=name, shape=(each, *rest), initializer="zeros", **kwargs
            )
        weight = ReplicaWeight(variable, self._strategy)
        for shard in weight.shards:
            first = _first_expert(shard)
            with tf.init_scope(), tf.device(shard.device):
                drawn = [
                    draw(expert, tuple(rest), variable.dtype)
                    for expert in range(first, first + each)
                ]
                shard.assign(tf.stack(drawn))
        return weight

    def dispatcher(self, routing, plan):
        if routing.gate.shape[0] == 0 or in_symbolic_scope():
            return _NoDispatcher()
        if num_replicas() == 1:
            return super().dispatcher(routing, plan)
        return ReplicaDispatcher(self._number, routing, plan)


class ReplicaDispatcher:
    """`Dispatcher` whose rows travel to the replicas of their experts.

    Args:
        number: int. R.
        routing: `Routing` of the tokens of this replica.
        plan: `DispatchPlan` of it. Only which choices have a slot counts.
    """

    def __init__(self, number, routing, plan):
        self._each = plan.counts.shape[0] // number
        self._gate = routing.gate
        expert_nK = tf.where(plan.choices_with_slot(), routing.expert_index, -1)
        places = _places_needed(expert_nK, self._each, number)
        self._plan = plan_devices(expert_nK, self._each, number, places)
        self._expert_of_row = all_to_all(expert_of_rows(expert_nK, self._plan))

    def dispatch(self, tokens):
        return all_to_all(dispatch(tokens, self._plan))

    def run(self, experts, rows):
        local = LocalExperts(
            weights={
                name: tf.convert_to_tensor(weight.variable)
                for name, weight in experts.placed_weights.items()
            },
            first_expert=replica_index() * self._each,
            num_experts=self._each,
        )
        return run_local_experts(
            experts, local, rows, self._expert_of_row[:, None]
        )

    def combine(self, results):
        return combine(all_to_all(results), self._plan, self._gate)


class _NoDispatcher:
    """`Dispatcher` of a model that is being built: only shapes matter.

    Replicas' weights cannot be read there.
    """

    def dispatch(self, tokens):
        return tokens

    def run(self, experts, tokens):
        depth = experts.compute_output_shape((None, tokens.shape[-1]))[-1]
        return tf.zeros([tf.shape(tokens)[0], depth], tokens.dtype)

    def combine(self, results):
        return results


def _first_expert(shard):
    return shard_of(shard).pieces[0][0].start


def _places_needed(expert_nK, each, number):
    """Count the most choices of any replica for any other, at least 1."""
    target = tf.where(expert_nK < 0, -1, expert_nK // each)
    counts_R = tf.math.unsorted_segment_sum(
        tf.ones_like(target), target, number
    )
    return tf.maximum(tf.reduce_max(gather_over_replicas(counts_R)), 1)
