"""Where the weights of experts live, and where the experts run.

Layers know no devices. Experts name the dimensions of their weights, and the
*placement* in force while they are built makes the variables. `SparseMoE` asks
the same placement for a *dispatcher*, which brings the tokens of a call to the
experts and the results back. The placement here is the plain one: whole
weights, where Keras puts them. `moe_keras.parallel` has others, which split
weights and tokens over devices. None of them changes a result.

N: tokens    D: depth    E: experts    K: experts per token    S: slots
"""

import contextlib
import contextvars
import functools

import tensorflow as tf

from moe_keras.dispatch import combine, dispatch

_MANY = 64  # experts from which on a graph that draws them is worth tracing


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

    supports_jit = True  # whether XLA can compile the dispatcher
    splits_hidden = False  # whether experts have parts of their hidden size

    @contextlib.contextmanager
    def scope(self):
        """Context manager: layers built within it have this placement."""
        token = _PLACEMENT.set(self)
        try:
            yield self
        finally:
            _PLACEMENT.reset(token)

    def add_weight(self, layer, name, draw, dims, side_by_side=1, **kwargs):
        """Make a weight of experts.

        Args:
            layer: The Keras layer that it belongs to.
            name: str.
            draw: Function `(expert, shape, dtype) -> tensor`, the initial
                values of one expert, the same at every call.
            dims: dict of the sizes of its dimensions by their names, in
                order, "experts" first. "hidden" is the hidden size of the
                experts, over which their second product sums.
            side_by_side: int. Number of kernels side by side in the last
                dimension; where it is split, each of them is.
            **kwargs: Further arguments of `keras.Layer.add_weight`, such as
                `dtype` and `trainable`.

        Returns:
            A Keras variable, or a `SplitWeight`.
        """

        return layer.add_weight(
            name=name,
            shape=tuple(dims.values()),
            initializer=functools.partial(draw_all, draw),
            # Layers cast them, except biases.
            **{"autocast": False, **kwargs},
        )

    def expert_scope(self, expert, num_experts):
        """Context manager: build an expert that is a layer of its own.

        Args:
            expert: int. Its number.
            num_experts: int. Experts of all devices.
        """
        return contextlib.nullcontext()

    def check(self, experts):
        """Raise a ValueError if a layer of experts cannot run here.

        Args:
            experts: Layer as in `SparseMoE`, built.
        """

    def dispatcher(self, routing, plan):
        """Make the dispatcher of one call.

        Args:
            routing: `Routing` of the tokens.
            plan: `DispatchPlan` of the routing, in segments or batches as the
                experts take them. Choices without a slot are dropped.

        Returns:
            `Dispatcher`, or an object with the same three methods.
        """
        return Dispatcher(routing, plan)


def draw_all(draw, shape, dtype=None):
    """Draw the initial values of all experts.

    Args:
        draw: As of `Placement.add_weight`. If its attribute `takes_tensors` is
            True it is traced once, which many thousand experts need.
        shape: Shape of the weight, experts first.
        dtype: Its dtype.

    Returns:
        Tensor.

    Example:

    >>> ten = draw_all(lambda n, shape, dtype: tf.fill(shape, 10 * n), (3, 1))
    >>> ten.numpy().tolist()
    [[0], [10], [20]]
    """
    num_experts, *rest = shape
    if num_experts < _MANY or not getattr(draw, "takes_tensors", False):
        numbers = range(num_experts)
        return tf.stack([draw(number, rest, dtype) for number in numbers])

    @tf.function(autograph=False)
    def draw_each():
        return tf.map_fn(
            lambda number: draw(number, rest, dtype),
            tf.range(num_experts),
            fn_output_signature=tf.as_dtype(dtype or "float32"),
        )

    return draw_each()


class Dispatcher:
    """Brings the tokens of one call to their experts, and the results back.

        tokens (N, D) --dispatch--> slots (S, D) --run--> results (S, D')
        --combine--> (N, D')

    What `dispatch` returns is for `run`, and what that returns for `combine`:
    other placements have lists of tensors there, one for each device.

    Example:

    >>> from moe_keras import Routing
    >>> from moe_keras.dispatch import plan_dispatch
    >>> gate = tf.constant([[0.5], [1.0]])
    >>> routing = Routing([[1], [0]], gate, importance=None, load=None)
    >>> plan = plan_dispatch(routing.expert_index, num_experts=2, capacity=1)
    >>> dispatcher = Placement().dispatcher(routing, plan)
    >>> slots = dispatcher.dispatch(tf.constant([[2.0], [3.0]]))
    >>> results = dispatcher.run(lambda slots_ECD: 10 * slots_ECD, slots)
    >>> dispatcher.combine(results).numpy().tolist()
    [[10.0], [30.0]]
    """

    def __init__(self, routing, plan):
        self._gate = routing.gate
        self._plan = plan

    def dispatch(self, tokens):
        """Gather the tokens of each expert."""
        return dispatch(tokens, self._plan)

    def run(self, experts, slots):
        """Call the layer of experts."""
        return run_experts(experts, slots, self._plan)

    def combine(self, results):
        """Add up the results of each token's experts, weighted by gate."""
        return combine(results, self._plan, self._gate)


def run_experts(experts, slots, plan, local=None):
    """Call a layer of experts with slots in the shape that it takes.

    Args:
        experts: Layer as in `SparseMoE`.
        slots: Tensor `(S, D)`.
        plan: The `DispatchPlan` by which they were filled.
        local: `LocalExperts`, or None for all experts of the layer.

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
    # Only layers that can be split have the argument.
    arguments = {} if local is None else {"local": local}
    if plan.capacity is None:
        return experts(slots, counts=plan.counts, **arguments)
    if getattr(experts, "supports_counts", False):
        arguments["counts"] = plan.counts
    shape = [plan.counts.shape[0], plan.capacity, slots.shape[-1]]
    outputs_ECD = experts(tf.reshape(slots, shape), **arguments)
    return tf.reshape(outputs_ECD, [-1, outputs_ECD.shape[-1]])


_PLAIN = Placement()
_PLACEMENT = contextvars.ContextVar("placement")


def current_placement():
    """The placement of the layers that are being built."""
    return _PLACEMENT.get(_PLAIN)
