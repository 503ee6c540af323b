"""Base class of layers that stack the weights of E experts.

E: experts    C: slots of an expert    D: depth    S: slots of all experts
"""

import keras
import tensorflow as tf

from moe_keras.checks import FixedArguments
from moe_keras.experts.lora import LowRankExperts
from moe_keras.experts.low_rank import names_of_pair
from moe_keras.experts.regularizers import of_each
from moe_keras.gradients.slices import SparseGradients
from moe_keras.packed.layer import FewBits
from moe_keras.packed.weight import PackedWeight
from moe_keras.placement.placement import current_placement
from moe_keras.placement.split_weight import SplitWeight, whole_tensor


class StackedExperts(
    LowRankExperts,
    FewBits,
    SparseGradients,
    FixedArguments,
    keras.layers.Layer,
):
    """Layer whose weights have a dimension for the experts, the first one.

    A subclass makes its weights with `add_expert_weight` in `build`, takes
    them with `read` in `call`, and hands `read` its argument `local`. Then it
    runs on one device, under a `MeshLayout` and under a `ReplicaPlacement`
    alike: in parts it is called with a `LocalExperts`, and reads the tensors
    of those experts by the names of the weights. Weights of another kind are
    refused there, while the layer is built.

    `.keras` and `.weights.h5` files hold the weights whole, whatever the
    placement was.

    `enable_lora` freezes the kernels, weights `(E, D, H)`, and trains a pair of
    matrices of low rank for each of each expert.

    Subclasses have an attribute `num_experts`. If `supports_segments` is True
    they take `(S, D)` with `counts (E,)` as well as `(E, C, D)`.

    Args:
        lora_rank: int. Rank of the pairs that are made with the layer, as
            `enable_lora` makes them later; None for none.
        lora_alpha: float. See `enable_lora`.
        quantization: `WeightQuantization`, "int8" or "int4": its kernels are
            kept in few bits from the beginning, and cannot train. `quantize`
            does it later. None for kernels as they are.
        sparse_gradients: bool. Hand over the gradients of weights as
            `tf.IndexedSlices` of the experts that have tokens, as an
            `Embedding` does, where experts run on segments. With thousands of
            experts an optimizer that takes slices, such as
            `FactoredAdam(lazy=True)`, then pays for the busy ones alone. It
            may be set at any time before a step is traced.
        **kwargs: Arguments of every Keras layer.

    Example:

    >>> class ScaledExperts(StackedExperts):
    ...     def __init__(self, num_experts, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.num_experts = num_experts
    ...
    ...     def build(self, input_shape):
    ...         def draw(expert, shape, dtype):
    ...             return tf.fill(shape, tf.cast(expert + 1, dtype))
    ...         self.scale = self.add_expert_weight(
    ...             "scale", draw, depth=input_shape[-1]
    ...         )
    ...
    ...     def call(self, inputs, local=None):
    ...         return inputs * self.read("scale", local)[:, None]
    >>> ScaledExperts(3)(tf.ones((3, 1, 1))).numpy().ravel().tolist()
    [1.0, 2.0, 3.0]
    """

    splits = ("experts", "hidden")  # dimensions that a placement may split
    _expert_weights = ()  # pairs of name and weight, in the order of making
    _kernels = ()  # name, side_by_side and pairs of dims, of weights of rank 3
    _placement = None  # that of its weights

    def __init__(
        self,
        lora_rank=None,
        lora_alpha=None,
        quantization=None,
        sparse_gradients=False,
        **kwargs,
    ):
        super().__init__(
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization=quantization,
            **kwargs,
        )
        self.sparse_gradients = sparse_gradients

    @property
    def is_altered(self):
        """Whether it has been changed since it was made."""
        return self._pairs is not None or self.quantization is not None

    def add_expert_weight(
        self, name, draw, side_by_side=1, regularizer=None, **dims
    ):
        """Make a weight.

        Args:
            name, draw, side_by_side, **dims: As for `Placement.add_weight`;
                the dimension "experts" is added in front.
            regularizer: Keras regularizer or None. The losses of all experts
                are summed, as if each were a layer of its own.

        Raises:
            ValueError: If a regularizer is given and the placement splits the
                weight.
        """
        dims = {"experts": self.num_experts, **dims}
        self._placement = current_placement()
        if len(dims) == 3:
            kernel = (name, side_by_side, tuple(dims.items()))
            self._kernels = (*self._kernels, kernel)
        if len(dims) == 3 and self.quantization is not None:
            weight = self.make_packed(name, tuple(dims.values()))
        else:
            weight = self._placement.add_weight(
                self, name, draw, dims, side_by_side
            )
        self._expert_weights = (*self._expert_weights, (name, weight))
        if regularizer is not None and not isinstance(weight, PackedWeight):
            if isinstance(weight, SplitWeight):
                raise ValueError(
                    "Regularizers need experts whose weights are whole, and "
                    f"the layout splits {weight.path}. Leave `{name}` without "
                    "a regularizer, or take weight decay of the optimizer. "
                    f"Received: {regularizer}"
                )
            weight.regularizer = of_each(regularizer, side_by_side)
        return weight

    def make_packed(self, name, shape):
        self._check_hidden_is_whole()
        return PackedWeight(
            self, name, shape, self.quantization, self._add_part
        )

    def check_can_be_packed(self):
        self._check_hidden_is_whole()
        super().check_can_be_packed()

    def _check_hidden_is_whole(self):
        if self._placement is not None and self._placement.splits_hidden:
            raise ValueError(
                "Kernels of few bits are not split over their hidden size, as "
                "groups of rows would be cut: take a layout without a rule "
                f"for `hidden`. Received: {self.name}, built under "
                f"{self._placement}"
            )

    def _add_part(self, name, shape, dtype):
        dims = dict(zip(("experts", "rows", "columns"), shape, strict=True))
        return self._placement.add_weight(
            self,
            name,
            _draw_zeros,
            dims,
            dtype=dtype,
            trainable=False,
            autocast=False,
        )

    def float_kernels(self):
        weights = self.expert_weights
        return {name: weights[name] for name, _, _ in self._kernels}

    def own_weights(self):
        pairs = set(self.pair_names)
        return [w for name, w in self._expert_weights if name not in pairs]

    def _replace(self, name, old, new):
        super()._replace(name, old, new)
        self._expert_weights = tuple(
            (self.expert_weights | {name: new}).items()
        )

    @property
    def expert_weights(self):
        """dict of the weights by name.

        Keras variables, `SplitWeight`s, or `PackedWeight`s.
        """
        return dict(self._expert_weights)

    @property
    def placed_weights(self):
        """dict of what the placement has made, by name.

        As `expert_weights`, but with the parts of a `PackedWeight` apart.
        """
        placed = {}
        for name, weight in self._expert_weights:
            placed.update(getattr(weight, "named_parts", {name: weight}))
        return placed

    def read(self, name, local, once=False, cast=True, factored=False):
        """Take the tensor of a weight.

        Args:
            name: str. As given to `add_expert_weight`.
            local: `LocalExperts` that `call` got, or None for all experts.
            once: bool. Whether it is added after the sum over hidden units,
                as an output bias: see `LocalExperts.only_once`.
            cast: bool. Whether to cast it to the dtype of the computation.
            factored: bool. Whether kernels of few bits, or with low-rank
                pairs, may stay as they are; otherwise those of all experts
                are unpacked, or added to their pairs.

        Returns:
            Tensor, for the experts of `local`; with `factored` `PackedKernels`
            for kernels of few bits, and `LowRankKernels` for kernels that are
            frozen beside their pairs, which then get no gradient.
        """
        weight = self.expert_weights.get(name)
        if isinstance(weight, PackedWeight):
            dtype = self.compute_dtype if cast else self.variable_dtype
            kernels = weight.tensors(dtype, local and local.weights)
            return kernels if factored else kernels.whole()
        weights = self.expert_weights if local is None else local.weights
        tensor = whole_tensor(weights[name])
        if self._pairs is not None and names_of_pair(name)[0] in weights:
            a, b = (whole_tensor(weights[n]) for n in names_of_pair(name))
            if factored and self.is_frozen(name):
                return self._pairs.beside(
                    *(tf.cast(x, self.compute_dtype) for x in (tensor, a, b))
                )
            tensor = self._pairs.added(tensor, a, b)
        if once and local is not None:
            tensor = local.only_once(tensor)
        return tf.cast(tensor, self.compute_dtype) if cast else tensor

    def get_config(self):
        return {
            **super().get_config(),
            "sparse_gradients": self.sparse_gradients,
        }


def _draw_zeros(expert, shape, dtype):
    return tf.zeros(shape, dtype)
