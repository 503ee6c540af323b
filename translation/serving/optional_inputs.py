"""Inputs of a signature that a request may leave out.

A SavedModel keeps default values of inputs beside each signature
(`SignatureDef.defaults`). TensorFlow Serving and `trainers.serve` put them in
where a request has none, and so does a session that runs the tensors by their
names. The functions that `tf.saved_model.load` gives in Python do not: there
every input has to be named.
"""

import inspect

import tensorflow as tf


def with_defaults(functions, defaults):
    """Gives inputs of signatures their default values, to be saved.

    Args:
        functions: dict of concrete functions by the name of the signature.
        defaults: dict by the name of an input: a value for `tf.constant`,
            which goes for every function that has the input. Such inputs
            come last.

    Returns:
        dict of what `tf.saved_model.save` takes as signatures. A function
        without such inputs is as it was.

    Example:

    >>> spec = tf.TensorSpec([None], tf.string, "name")
    >>> greet = tf.function(lambda name: {"said": "Hi " + name}, [spec])
    >>> greet = greet.get_concrete_function()
    >>> greet = with_defaults({"greet": greet}, {"name": ["you"]})["greet"]
    >>> greet()["said"].numpy().tolist()
    [b'Hi you']
    """
    return {
        name: _with_defaults(function, defaults)
        for name, function in functions.items()
    }


def _with_defaults(function, defaults):
    specs, _ = function.structured_input_signature
    if not any(spec.name in defaults for spec in specs):
        return function
    python = taking(specs, lambda **named: function(*named.values()), defaults)
    return tf.function(python, input_signature=specs, autograph=False)


def taking(specs, function, defaults=None):
    """Makes a Python function whose arguments are named as specs say.

    Args:
        specs: Sequence of `tf.TensorSpec` with names, its arguments in order.
        function: Function that is called with these arguments by name.
        defaults: dict of default values, for `tf.constant`, or None.

    Returns:
        A function that `tf.function` reads the names and defaults of.
    """
    names = [spec.name for spec in specs]

    def named(*values):
        return function(**dict(zip(names, values, strict=True)))

    named.__name__ = getattr(function, "__name__", "named")
    named.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                spec.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=tf.constant(defaults[spec.name], spec.dtype)
                if defaults and spec.name in defaults
                else inspect.Parameter.empty,
            )
            for spec in specs
        ]
    )
    return named
