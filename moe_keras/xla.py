"""Whether XLA compiles the graph that is being made."""

import tensorflow as tf
from tensorflow.python.ops import control_flow_util  # no public name


def is_compiled_by_xla():
    """Whether the graph that is being made is one for `jit_compile=True`.

    Example:

    >>> @tf.function(jit_compile=True)
    ... def compiled():
    ...     return is_compiled_by_xla()
    >>> bool(compiled()), is_compiled_by_xla()
    (True, False)
    """
    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)
