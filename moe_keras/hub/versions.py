"""The keras-hub and the backend that the descriptions of families fit."""

import keras

try:
    import keras_hub
except ImportError as error:
    raise ImportError(
        "`moe_keras.hub` needs keras-hub, an optional dependency: "
        "pip install 'moe-keras[hub]'"
    ) from error

# Blocks are found by private names, which another version may change.
KNOWN = ("0.32",)


def check_versions():
    """Refuses a backend or a version of keras-hub that was never tried.

    Raises:
        RuntimeError: If Keras' backend is not TensorFlow, or if the version
            of keras-hub is not in `KNOWN`.

    Example:

    >>> check_versions()
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "`moe_keras.hub` dispatches tokens with TensorFlow; set "
            'KERAS_BACKEND="tensorflow" before Keras is imported. '
            f"Received: backend={backend!r}"
        )
    version = keras_hub.__version__
    if ".".join(version.split(".")[:2]) not in KNOWN:
        raise RuntimeError(
            "`moe_keras.hub` knows the layers of keras-hub "
            f"{' and '.join(KNOWN)}, and guesses at no others; install "
            f'"keras-hub=={KNOWN[-1]}.*". Received: keras_hub {version}'
        )
