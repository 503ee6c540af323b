"""Variables that are there as soon as they are made, whoever is tracing."""

import contextlib

import tensorflow as tf
from keras.src.backend.common import global_state  # no public name


@contextlib.contextmanager
def made_at_once():
    """Variables made within the block are there when it ends.

    Keras builds most models within a graph, to find out their variables, and
    there within a scope in which these are only noted, to be made later and
    wherever that is. Parts of a weight have to be told apart at once.

    Example:

    >>> from keras import Variable
    >>> from keras.src.backend.common.stateless_scope import StatelessScope
    >>> with StatelessScope(), made_at_once():
    ...     Variable([3.0]).numpy().tolist()
    [3.0]
    """
    noting = global_state.get_global_attribute("stateless_scope")
    global_state.set_global_attribute("stateless_scope", None)
    try:
        with tf.init_scope():
            yield
    finally:
        global_state.set_global_attribute("stateless_scope", noting)
