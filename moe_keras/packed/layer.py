"""Layers whose kernels can be kept in few bits, and unpacked in each call."""

import keras
import numpy as np

from moe_keras.packed.rounding import WeightQuantization
from moe_keras.packed.weight import PackedMatrix


class FewBits:
    """Mixin of Keras layers that can keep their kernels in few bits.

    Weights alone are rounded, never inputs. `PackedMatrices` is the one for
    layers with matrices of their own, `StackedExperts` for experts. A subclass
    has

        float_kernels() -> dict of the variables to be packed, by name
        make_packed(name, shape) -> the packed weight in the place of one
        own_weights() -> list of all its weights, in the order of their making

    Args:
        quantization: `WeightQuantization`, "int8" or "int4": kernels are kept
            in few bits from the beginning, and cannot train. `quantize` does it
            later. None for kernels as they are.
        **kwargs: Arguments of the next class.
    """

    def __init__(self, quantization=None, **kwargs):
        super().__init__(**kwargs)
        self._quantization = WeightQuantization.of(quantization)

    @property
    def quantization(self):
        """`WeightQuantization` of its kernels, or None."""
        return self._quantization

    def quantize(self, mode=None, type_check=True, config=None):
        """Keep the kernels in few bits; `keras.Model.quantize` calls it.

        "int8" keeps a scale for each column of a kernel, "int4" a scale and a
        zero point for each group of 128 rows, or of the `block_size` of a
        `keras.quantizers.Int4QuantizationConfig`. Unlike those of Keras'
        layers, inputs are not rounded. Biases stay as they are.

        Args:
            mode: "int8" or "int4"; `set_kernels` takes other bits and groups.
            type_check: bool. Not used.
            config: Keras quantization config of the mode, or None.

        Raises:
            ValueError: If the mode is another, the config has a quantizer of
                weights, or `check_can_be_packed` raises one.
        """
        del type_check
        self.set_kernels(quantization_of(mode, config, self.name))

    def set_kernels(self, quantization, rounded=None):
        """Keep the kernels in few bits, rounded as given.

        Args:
            quantization: `WeightQuantization`.
            rounded: dict by name of a list of what `round_kernel` returns, for
                each expert; None rounds each weight to the nearest number.

        Raises:
            ValueError: As `quantize`.
        """
        self.check_can_be_packed()
        self._quantization = quantization
        was_locked = self._tracker.locked
        self._tracker.unlock()
        for name, old in self.float_kernels().items():
            new = self.make_packed(name, tuple(old.shape))
            if rounded is None:
                new.assign(old.numpy())
            else:
                new.assign_rounded(rounded[name])
            for variable in getattr(old, "variables", (old,)):
                self._untrack_variable(variable)
            self._replace(name, old, new)
        if was_locked:
            self._tracker.lock()

    def check_can_be_packed(self):
        """Raise a ValueError if `quantize` would.

        Raises:
            ValueError: If the layer is not built, its kernels have few bits
                already, or they are not finite.
        """
        if not self.built:
            raise ValueError(
                f"`quantize` needs the weights of {self.name}: build the "
                "layer, or call its model, before."
            )
        if self._quantization is not None:
            raise ValueError(
                f"The kernels of {self.name} have few bits already: "
                f"{self._quantization}."
            )
        for kernel in self.float_kernels().values():
            if not np.isfinite(kernel.numpy()).all():
                raise ValueError(
                    f"{kernel.path} has weights that are not finite, and "
                    "cannot be quantized."
                )

    def _replace(self, name, old, new):
        for attribute, value in list(vars(self).items()):
            if value is old:
                setattr(self, attribute, new)

    def save_own_variables(self, store):
        for name, weight in self.files()[0].items():
            store[name] = keras.ops.convert_to_numpy(weight)

    def load_own_variables(self, store):
        found = set(store.keys())
        for weights in self.files():
            if found == set(weights):
                for name in found:
                    weights[name].assign(store[name])
                return
        raise ValueError(
            f"{self.name} has {len(self.files()[0])} weights. "
            f"Received: {len(found)} in the file."
            + ("" if self.built else " Build the layer before loading.")
            + self.about_file(found)
        )

    def files(self):
        """The files that it can load, that which it saves first.

        Returns:
            List of dicts of weights by their names in the file. The second, of
            a layer in few bits, is a file from before: kernels are rounded as
            they come.
        """
        weights = self.own_weights()
        if self._quantization is None:
            return [_numbered(weights)]
        return [_named(weights), _numbered(weights)]

    def get_config(self):
        return {
            **super().get_config(),
            "quantization": keras.saving.serialize_keras_object(
                self._quantization
            ),
        }

    def about_file(self, found):
        """What to say of a file with other names, or an empty string."""
        if any(name.endswith("_codes") for name in found):
            return (
                " Its kernels have few bits: quantize the layer as they are "
                "before loading."
            )
        return ""


class PackedMatrices(FewBits):
    """Mixin of Keras layers with matrices that can be kept in few bits.

    Attributes:
        matrices: dict of the attributes that hold the matrices, with the axis
            of their groups, see `PackedMatrix`. Those that are None or missing
            are left out.
        made: tuple of the attributes of all weights, in the order in which
            they are made.

    Example:

    >>> class Linear(PackedMatrices, keras.layers.Layer):
    ...     matrices = {"kernel": 0}
    ...     made = ("kernel",)
    ...
    ...     def build(self, shape):
    ...         self.kernel = self.add_matrix("kernel", (shape[-1], 4), "ones")
    ...
    ...     def call(self, x):
    ...         return keras.ops.matmul(x, self.kernel)
    >>> layer = Linear()
    >>> before = layer(np.ones((2, 3)))
    >>> layer.set_kernels(WeightQuantization(8))
    >>> bool(np.allclose(layer(np.ones((2, 3))), before))
    True
    >>> [weight.dtype for weight in layer.weights]
    ['uint8', 'float32']
    """

    matrices = {}
    made = ()

    def add_matrix(self, name, shape, initializer=None):
        """Make one of `matrices` and return it, packed if the layer is."""
        if self._quantization is not None:
            return self.make_packed(name, shape)
        return self.add_weight(name=name, shape=shape, initializer=initializer)

    def float_kernels(self):
        kernels = {name: getattr(self, name, None) for name in self.matrices}
        return {name: x for name, x in kernels.items() if x is not None}

    def make_packed(self, name, shape):
        axis = self.matrices[name]
        return PackedMatrix(self, name, shape, self._quantization, axis)

    def own_weights(self):
        weights = [getattr(self, name, None) for name in self.made]
        return [weight for weight in weights if weight is not None]


def quantization_of(mode, config, name):
    """The `WeightQuantization` that Keras' modes and configs ask for.

    Args:
        mode: "int8", "int4" or a `WeightQuantization`.
        config: Keras quantization config of the mode, or None.
        name: str. The layer's name, for errors.

    Returns:
        `WeightQuantization`.

    Raises:
        ValueError: If the mode is another, or the config has a quantizer of
            weights.

    Example:

    >>> quantization_of("int4", None, "lstm").group_size
    128
    """
    if isinstance(mode, WeightQuantization):
        return mode
    if config is not None and config.mode in ("int8", "int4"):
        if config.weight_quantizer is not None:
            raise ValueError(
                f"{name} has scales of its own for its kernels, and takes no "
                "quantizer of weights. Leave it out, or leave this layer out "
                f"by `filters`. Received: {config.weight_quantizer}"
            )
        mode = config.mode
        block = getattr(config, "block_size", None)
        if mode == "int4":
            whole = block is None or block == -1
            return WeightQuantization(4, None if whole else block)
    if mode not in ("int8", "int4"):
        raise ValueError(
            f"{name} has kernels that a mode {mode!r} cannot reach: take "
            "'int8' or 'int4', or `moe_keras.quantization.quantize` for other "
            "bits, and GPTQ for experts. To quantize other layers alone, leave "
            "this one out by `filters`."
        )
    return WeightQuantization.of(mode)


def _numbered(weights):
    return {str(number): weight for number, weight in enumerate(weights)}


def _named(weights):
    """Names of weights in files, those of the parts of packed ones."""
    named = {}
    for number, weight in enumerate(weights):
        if hasattr(weight, "parts"):
            for kind, variable in weight.parts.items():
                named[f"{number}_{kind}"] = variable
        else:
            named[str(number)] = weight
    return named
