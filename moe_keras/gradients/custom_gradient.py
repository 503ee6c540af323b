"""Functions with gradients of their own, written out by hand.

`tf.custom_gradient` keeps the gradient of every function of a graph in a
table of the process, for ever, and with it the graph and the weights that
the graph reads: each model that is built and dropped stays in memory. Here
the table has weak references, and the graph itself keeps its gradients.
"""

import inspect
import itertools
import weakref

import tensorflow as tf
from tensorflow.python.eager import record  # no public name

_numbers = itertools.count()


def custom_gradient(function):
    """Give a function of tensors a gradient of its own.

    Like `tf.custom_gradient`, but what the gradient remembers goes when its
    graph goes.

    Args:
        function: Function `(*tensors) -> (result, backward)`. The result is a
            tensor or a nest of tensors. `backward` takes a gradient for each
            tensor of the result and returns one for each argument. If it has
            an argument `variables`, a list of the variables that the function
            has read is given by that name, and it returns a pair: the
            gradients of the arguments and those of the variables.

    Returns:
        Function `(*tensors) -> result`.

    Raises:
        ValueError: When it is called, if it reads variables that are not
            among its arguments and `backward` has no argument `variables`.

    Example:

    >>> @custom_gradient
    ... def clipped(x):
    ...     return tf.minimum(x, 1.0), lambda d_y: d_y  # slope 1 everywhere
    >>> x = tf.constant([0.5, 3.0])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = clipped(x)
    >>> y.numpy().tolist(), tape.gradient(y, x).numpy().tolist()
    ([0.5, 1.0], [1.0, 1.0])
    """

    def run(*arguments):
        arguments = [tf.convert_to_tensor(x) for x in arguments]
        with record.VariableWatcher() as watcher:
            result, backward = function(*arguments)
        variables = sorted(watcher.watched_variables(), key=lambda v: v.name)
        tensors = [tf.convert_to_tensor(x) for x in tf.nest.flatten(result)]
        results = _record(
            tensors,
            [*arguments, *map(tf.convert_to_tensor, variables)],
            _gradients_of(backward, variables),
        )
        return tf.nest.pack_sequence_as(result, results)

    return run


def recomputed(function):
    """Compute the inside of a function again in the backward pass.

    Nothing between arguments and result is kept until then: memory for time.
    Unlike `tf.recompute_grad` it has gradients of any order.

    Args:
        function: Function `(*tensors) -> tensor`, which answers the same
            whenever it is asked the same.

    Returns:
        The same function, with the same gradient.

    Example:

    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = recomputed(lambda x: x**2)(x)
    >>> float(tape.gradient(y, x))
    6.0
    """

    @custom_gradient
    def run(*arguments):
        def backward(d_result):
            again = _not_before(d_result, arguments)
            with tf.GradientTape() as tape:
                tape.watch(again)
                result = function(*again)
            return tape.gradient(
                result, again, d_result, unconnected_gradients="zero"
            )

        # Unrecorded: an eager tape would keep the inside after all.
        return function(*map(tf.stop_gradient, arguments)), backward

    return run


def _not_before(d_result, arguments):
    """The arguments, but only once the gradient of the result is there.

    Without it XLA and TensorFlow's graph optimizer would find the same work
    done twice, and keep the results of the first time instead. XLA heeds
    numbers only, no control dependencies: so a zero is added, one that no
    optimizer can tell from the graph. A gradient of NaN stays NaN.
    """
    first = tf.reduce_sum(tf.reshape(d_result, [-1])[:1])
    zero = tf.stop_gradient(tf.minimum(tf.abs(first), 0))
    return [x + tf.cast(zero, x.dtype) for x in arguments]


def _gradients_of(backward, variables):
    """`backward` as a function to a flat list, variables included."""
    if not variables:
        return lambda *d_tensors: tf.nest.flatten(backward(*d_tensors))
    if "variables" not in inspect.signature(backward).parameters:
        names = ", ".join(variable.name for variable in variables)
        raise ValueError(
            "A function with a gradient of its own cannot train variables "
            "that are not its arguments, such as those of an activation with "
            f"weights. Received a function that reads: {names}"
        )
    return lambda *d_tensors: tf.nest.flatten(
        backward(*d_tensors, variables=variables)
    )


def _record(tensors, inputs, gradients):
    """Lets tapes and graphs find the gradient of tensors in the inputs."""
    if tf.executing_eagerly():
        results = [tf.identity(x) for x in tensors]
        record.record_operation("MoeKeras", results, inputs, gradients)
        return results
    return _record_in_graph(tensors, inputs, gradients)


def _record_in_graph(tensors, inputs, gradients):
    """Passes results and inputs through one op that has the gradient."""
    count = len(tensors)

    def gradients_of_all(*d_all):
        return [None] * count + gradients(*d_all[:count])

    inputs = [*tensors, *inputs]
    graph = tf.compat.v1.get_default_graph()
    name = _register(graph, gradients_of_all)
    with graph.gradient_override_map({"IdentityN": name}):
        outputs = tf.identity_n(inputs)
    # For tapes within the graph, which do not look at the override.
    record.record_operation("MoeKeras", outputs, inputs, gradients_of_all)
    return outputs[:count]


def _register(graph, gradients):
    """Registers a gradient that lives as long as its graph; its name."""
    name = f"MoeKerasGradient{next(_numbers)}"
    if not hasattr(graph, "_moe_keras_gradients"):
        graph._moe_keras_gradients = []
    graph._moe_keras_gradients.append(gradients)
    remembered = weakref.ref(gradients)

    @tf.RegisterGradient(name)
    def gradients_of_op(unused_op, *d_all):
        function = remembered()
        if function is None:
            raise LookupError("The graph of this gradient is gone.")
        return function(*d_all)

    return name
