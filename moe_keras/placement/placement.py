"""Where the weights of experts live, and where the experts run.

Layers know no devices. Experts name the dimensions of their weights and leave
it to the *placement* in force while they are built to make the variables;
`SparseMoE` leaves it to the same placement to bring the tokens to the experts
and back. The placement here is the plain one: whole weights, where Keras puts
them. `moe_keras.parallel` has others, which split weights and tokens over
devices. None of them changes a result.

N: tokens    D: depth    E: experts    K: experts per token    S: slots
"""

import contextlib
import contextvars
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from moe_keras.dispatch import combine, dispatch


class Placement:
    """Whole weights, where Keras puts them. The contract of every other one.

    Example:

    >>> from moe_keras import FeedForwardExperts
    >>> experts = FeedForwardExperts(num_experts=4, hidden_dim=3)
    >>> with Placement().scope():
    ...     experts.build((4, None, 2))
    >>> [tuple(weight.shape) for weight in experts.weights]
    [(4, 2, 3), (4, 3), (4, 3, 2), (4, 2)]
    """

    supports_jit = True  # whether XLA can compile what `run` does

    @contextlib.contextmanager
    def scope(self):
        """Layers that are built within the block have this placement."""
        token = _PLACEMENT.set(self)
        try:
            yield self
        finally:
            _PLACEMENT.reset(token)

    def add_weight(self, layer, name, draw, dims, side_by_side=1):
        """Makes a weight of experts.

        Args:
            layer: The Keras layer that it belongs to.
            name: str.
            draw: Function `(expert, shape, dtype) -> tensor`, the initial
                values of one expert, the same whenever they are asked for.
            dims: dict of the sizes of its dimensions by their names, in their
                order, "experts" first. "hidden" is the hidden size of the
                experts, over which their second product sums.
            side_by_side: int. So many kernels lie side by side in the last
                dimension; where it is split, each of them is.

        Returns:
            What `read` takes: here a Keras variable.
        """

        def draw_all(shape, dtype=None):
            num_experts, *rest = shape
            return tf.stack(
                [draw(expert, rest, dtype) for expert in range(num_experts)]
            )

        return layer.add_weight(
            name=name, shape=tuple(dims.values()), initializer=draw_all
        )

    def home(self, expert, num_experts):
        """A context in which to build an expert that is a layer of its own.

        Args:
            expert: int. Its number.
            num_experts: int.
        """
        return contextlib.nullcontext()

    def check(self, experts):
        """Raises a ValueError if a layer of experts cannot be run.

        Args:
            experts: Layer as in `SparseMoE`, built.
        """

    def run(self, experts, tokens, routing, plan):
        """Brings the tokens to their experts and the results back.

        Args:
            experts: Layer that runs all experts, as in `SparseMoE`.
            tokens: Tensor `(N, D)`.
            routing: `Routing` of the tokens.
            plan: `DispatchPlan` of the routing, in segments or batches as
                `experts` takes them. What has no slot in it is dropped.

        Returns:
            Tensor `(N, D')`.
        """
        slots_SD = run_experts(experts, dispatch(tokens, plan), plan)
        return combine(slots_SD, plan, routing.gate)


def run_experts(experts, slots, plan):
    """Calls a layer of experts with slots in the shape that it takes.

    Args:
        experts: Layer as in `SparseMoE`.
        slots: Tensor `(S, D)`.
        plan: The `DispatchPlan` by which they were filled.

    Returns:
        Tensor `(S, D')`.

    Example:

    >>> from moe_keras.dispatch import plan_dispatch
    >>> plan = plan_dispatch([[1], [0], [1]], num_experts=2, capacity=2)
    >>> slots = dispatch(tf.constant([[1.0], [2.0], [3.0]]), plan)
    >>> double = lambda slots_ECD: 2 * slots_ECD
    >>> run_experts(double, slots, plan).numpy().ravel().tolist()
    [4.0, 0.0, 2.0, 6.0]
    """
    if plan.capacity is None:
        return experts(slots, counts=plan.counts)
    shape = [plan.counts.shape[0], plan.capacity, slots.shape[-1]]
    outputs_ECD = experts(tf.reshape(slots, shape))
    return tf.reshape(outputs_ECD, [-1, outputs_ECD.shape[-1]])


class Part(NamedTuple):
    """The part of the experts that is at work; by default all of them.

    Attributes:
        tensors: dict of the part's tensor of each weight, by `id` of what
            `Placement.add_weight` returned. A weight that is not in it is
            whole.
        first_expert: int or scalar tensor. Number of the part's first expert.
        num_experts: int. Experts of the part; None for all.
        hidden_part: int or scalar tensor. Which part of the hidden dimension
            it is, 0 for the first or only one.
        number: int or scalar tensor, of the part among all that run at once;
            None for the whole.
    """

    tensors: Any
    first_expert: Any = 0
    num_experts: Any = None
    hidden_part: Any = 0
    number: Any = None

    def choose(self, experts):
        """Those of a list of all experts that are at work."""
        if self.num_experts is None:
            return experts
        return experts[self.first_expert :][: self.num_experts]

    def own_seed(self, seed):
        """Another seed `(2,)` for each part; that of the whole is `seed`."""
        if self.number is None:
            return seed
        return tf.random.experimental.stateless_fold_in(seed, self.number)


_HERE = Placement()
_WHOLE = Part(tensors={})
_PLACEMENT = contextvars.ContextVar("placement")
_PART = contextvars.ContextVar("part")


def current_placement():
    """The placement of the layers that are being built."""
    return _PLACEMENT.get(_HERE)


def current_part():
    """The `Part` that is at work."""
    return _PART.get(_WHOLE)


@contextlib.contextmanager
def at_work(part):
    """Experts that are called within the block are a `Part` of all."""
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


def read(weight, once=False):
    """The tensor of a weight of experts, for the part that is at work.

    Args:
        weight: What `Placement.add_weight` returned.
        once: bool. Whether it is added behind the sum over the hidden
            dimension: of several hidden parts only the first has it, and the
            others have zeros.

    Returns:
        Tensor.

    Example:

    >>> weight = tf.Variable([[1.0], [2.0]])
    >>> with at_work(Part({id(weight): weight[1:]}, first_expert=1)):
    ...     read(weight).numpy().tolist()
    [[2.0]]
    """
    part = current_part()
    tensor = tf.convert_to_tensor(part.tensors.get(id(weight), weight))
    if not once or (isinstance(part.hidden_part, int) and not part.hidden_part):
        return tensor
    return tf.where(tf.equal(part.hidden_part, 0), tensor, 0)


class StackedExperts(keras.layers.Layer):
    """What layers share whose experts' weights are stacked, E of each.

    They are made and read by placement, and `.keras` and `.weights.h5` files
    hold them whole, whatever the placement was. Subclasses have an attribute
    `num_experts`.
    """

    splits = ("experts", "hidden")  # the dimensions a `Part` can be cut in

    def add_expert_weight(self, name, draw, side_by_side=1, **dims):
        """Makes a weight; arguments as for `Placement.add_weight`.

        The dimension "experts" is added in front.
        """
        self._expert_weights = (*getattr(self, "_expert_weights", ()), name)
        dims = {"experts": self.num_experts, **dims}
        return current_placement().add_weight(
            self, name, draw, dims, side_by_side
        )

    def read(self, weight, once=False):
        """`read`, in the dtype in which the layer computes."""
        return tf.cast(read(weight, once), self.compute_dtype)

    def save_own_variables(self, store):
        for number, name in enumerate(self._expert_weights):
            store[str(number)] = keras.ops.convert_to_numpy(getattr(self, name))

    def load_own_variables(self, store):
        if len(store.keys()) != len(self._expert_weights):
            raise ValueError(
                f"{self.name} has {len(self._expert_weights)} weights. "
                f"Received: {len(store.keys())} in the file."
            )
        for number, name in enumerate(self._expert_weights):
            getattr(self, name).assign(store[str(number)])
