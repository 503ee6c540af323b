"""Keras models of one's own class whose layers can be kept in few bits."""

import keras
from keras.src.quantizers.utils import (
    should_quantize_layer,  # no public name
)

from moe_keras.packed.layer import FewBits, quantization_of
from moe_keras.packed.rounding import WeightQuantization
from moe_keras.quantization.model import forget_graphs


class FewBitsModel:
    """Mixin of Keras models that make their layers of a config.

    `keras.Model.quantize` leaves out layers with other layers within, such as
    an attention with its map of keys; here it reaches them as well. And the
    config says which layers have few bits, so that a `.keras` file is loaded
    as it was saved. Put it before `keras.Model` among the base classes.

    Args:
        quantization: dict, as `quantized_layers` has returned it, for the
            layers that have few bits from the beginning; None for none.
        **kwargs: Arguments of a Keras model.

    Example:

    >>> from moe_keras import ProjectedLSTM
    >>> class Reader(FewBitsModel, keras.Model):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.lstm = ProjectedLSTM(4)
    ...
    ...     def build(self, shape):
    ...         self.lstm.build(shape)
    ...
    ...     def call(self, x):
    ...         return self.lstm(x)
    >>> reader = Reader()
    >>> reader.build((None, 5, 3))
    >>> reader.quantize("int8")
    >>> again = Reader.from_config(reader.get_config())
    >>> again.build((None, 5, 3))
    >>> again.lstm.quantization.bits
    8
    """

    def __init__(self, quantization=None, **kwargs):
        super().__init__(**kwargs)
        self._from_the_beginning = dict(quantization or {})

    def _post_build(self):  # Keras calls it at the end of `build`
        super()._post_build()
        quantize_layers(self, self._from_the_beginning)

    def quantize(self, mode=None, config=None, filters=None, **kwargs):
        """Keep the kernels of all layers in few bits, except routers.

        Args:
            mode, config, filters, **kwargs: As of `keras.Model.quantize`.

        Raises:
            ValueError: If the mode cannot reach a layer, or a layer has few
                bits already, before anything is changed.
        """
        layers = [
            layer
            for layer in self._flatten_layers()
            if isinstance(layer, FewBits)
            and should_quantize_layer(layer, filters)
        ]
        for layer in layers:
            quantization_of(mode, config, layer.name)
            layer.check_can_be_packed()
        super().quantize(mode, config=config, filters=filters, **kwargs)
        for layer in layers:
            if layer.quantization is None:
                layer.quantize(mode, config=config)
        forget_graphs(self)

    def get_config(self):
        quantization = quantized_layers(self)
        if not quantization:
            return super().get_config()
        return {**super().get_config(), "quantization": quantization}


def quantized_layers(model):
    """Say which layers of a model have few bits.

    Args:
        model: Keras model.

    Returns:
        dict, which JSON can hold: by the number of a layer among those of the
        model, how it is quantized.
    """
    found = {}
    for number, layer in enumerate(model._flatten_layers(include_self=False)):
        if isinstance(layer, FewBits):
            way = layer.quantization
        else:
            config = getattr(layer, "quantization_config", None)
            way = config or layer.quantization_mode
        if way is not None:
            found[str(number)] = keras.saving.serialize_keras_object(way)
    return found


def quantize_layers(model, quantization):
    """Quantize the layers that `quantized_layers` has found.

    Args:
        model: Built Keras model with layers as that had.
        quantization: dict, as `quantized_layers` has returned it.
    """
    layers = list(model._flatten_layers(include_self=False))
    for number, config in quantization.items():
        layer = layers[int(number)]
        way = keras.saving.deserialize_keras_object(config)
        if isinstance(way, WeightQuantization):
            layer.set_kernels(way)
        elif isinstance(way, str):
            layer.quantize(way)
        else:
            layer.quantize(way.mode, config=way)
