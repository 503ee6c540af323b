"""Base class of layers that stack the weights of E experts.

E: experts    C: slots of an expert    D: depth    S: slots of all experts
"""

import inspect

import keras
import numpy as np
import tensorflow as tf

from moe_keras.checks import FixedArguments
from moe_keras.experts.initial_values import each_alone
from moe_keras.experts.low_rank import LowRankPairs, names_of_pair
from moe_keras.experts.packed import ExpertQuantization, PackedWeight
from moe_keras.gradients.slices import SparseGradients
from moe_keras.placement.placement import Placement, current_placement
from moe_keras.placement.split_weight import SplitWeight, whole_tensor


class StackedExperts(SparseGradients, FixedArguments, keras.layers.Layer):
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
        quantization: `ExpertQuantization`, "int8" or "int4": its kernels are
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
        super().__init__(**kwargs)
        self.sparse_gradients = sparse_gradients
        self._pairs = None
        self._quantization = ExpertQuantization.of(quantization)
        if None not in (lora_rank, self._quantization):
            raise ValueError(
                "`lora_rank` needs kernels as they are: low-rank pairs beside "
                "kernels of few bits are not supported. Received: "
                f"lora_rank={lora_rank}, quantization={quantization}"
            )
        if lora_rank is not None:
            self._pairs = LowRankPairs(lora_rank, lora_alpha)

    @property
    def lora_rank(self):
        """Rank of the low-rank pairs, or None."""
        return self._pairs and self._pairs.rank

    @property
    def lora_alpha(self):
        """Scale of the low-rank pairs times their rank, or None."""
        return self._pairs and self._pairs.alpha

    @property
    def is_altered(self):
        """Whether it has been changed since it was made."""
        return self._pairs is not None or self._quantization is not None

    @property
    def quantization(self):
        """`ExpertQuantization` of its kernels, or None."""
        return self._quantization

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
        if len(dims) == 3 and self._quantization is not None:
            return self._add_packed(name, tuple(dims.values()))
        weight = self._placement.add_weight(
            self, name, draw, dims, side_by_side
        )
        self._expert_weights = (*self._expert_weights, (name, weight))
        if regularizer is not None:
            if isinstance(weight, SplitWeight):
                raise ValueError(
                    "Regularizers need experts whose weights are whole, and "
                    f"the layout splits {weight.path}. Leave `{name}` without "
                    "a regularizer, or take weight decay of the optimizer. "
                    f"Received: {regularizer}"
                )
            weight.regularizer = _of_each(regularizer, side_by_side)
        return weight

    def _add_packed(self, name, shape):
        if type(self._placement) is not Placement:
            raise ValueError(
                f"Kernels of few bits are not split over devices: {self.name} "
                "is built under a layout or on replicas that share out the "
                f"experts. Received: quantization={self._quantization}"
            )
        weight = PackedWeight(self, name, shape, self._quantization)
        self._expert_weights = (*self._expert_weights, (name, weight))
        return weight

    @property
    def expert_weights(self):
        """dict of the weights by name.

        Keras variables, `SplitWeight`s, or `PackedWeight`s.
        """
        return dict(self._expert_weights)

    def read(self, name, local, once=False, cast=True, packed=False):
        """Take the tensor of a weight.

        Args:
            name: str. As given to `add_expert_weight`.
            local: `LocalExperts` that `call` got, or None for all experts.
            once: bool. Whether it is added after the sum over hidden units,
                as an output bias: see `LocalExperts.only_once`.
            cast: bool. Whether to cast it to the dtype of the computation.
            packed: bool. Whether kernels of few bits may stay as they are;
                otherwise those of all experts are unpacked.

        Returns:
            Tensor, for the experts of `local`; `PackedKernels` with `packed`
            and kernels of few bits.
        """
        weights = self.expert_weights if local is None else local.weights

        if isinstance(weights[name], PackedWeight):
            dtype = self.compute_dtype if cast else self.variable_dtype
            kernels = weights[name].tensors(dtype)
            return kernels if packed else kernels.whole()

        def take(name):
            return whole_tensor(weights[name])

        tensor = take(name)
        if self._pairs is not None and names_of_pair(name)[0] in weights:
            tensor = self._pairs.added(tensor, *map(take, names_of_pair(name)))
        if once and local is not None:
            tensor = local.only_once(tensor)
        return tf.cast(tensor, self.compute_dtype) if cast else tensor

    def _post_build(self):  # Keras calls it at the end of `build`
        super()._post_build()
        if self._pairs is not None:
            self._add_pairs()

    def enable_lora(
        self,
        rank,
        lora_alpha=None,
        a_initializer="he_uniform",
        b_initializer="zeros",
    ):
        """Freeze the kernels and train a low-rank pair for each expert's.

        `W + (lora_alpha / rank) A B` takes the place of W
        (arXiv:2106.09685), with `A (E, D, rank)` and `B (E, rank, H)`. Biases
        stay as they are. Compile the model anew. Files hold kernels and pairs
        apart; `merge_lora` adds them up.

        Args:
            rank: int.
            lora_alpha: float. None for `rank`.
            a_initializer: Initializer of A, drawn for each expert alone.
            b_initializer: Initializer of B; zeros leave the outputs as they
                are.

        Raises:
            ValueError: If the layer is not built, has such pairs already, or
                has no kernels; or if an argument is out of its range.
        """
        self._check_can_change("enable_lora")
        if self._quantization is not None:
            raise ValueError(
                f"The kernels of {self.name} have few bits "
                f"({self._quantization}), beside which low-rank pairs are not "
                "supported: call `enable_lora` on the model of before."
            )
        if self._pairs is not None:
            raise ValueError(
                f"{self.name} has low-rank pairs already, of rank "
                f"{self.lora_rank}. Call `merge_lora()` before."
            )
        if not self._kernels:
            raise ValueError(
                f"{self.name} has no kernels (E, D, H) made with "
                "`add_expert_weight`: there is nothing to make pairs for."
            )
        self._pairs = LowRankPairs(
            rank, lora_alpha, a_initializer, b_initializer
        )
        self._tracker.unlock()
        self._add_pairs()
        self._tracker.lock()

    def merge_lora(self):
        """Add the low-rank pairs to the kernels, which can train again.

        Outputs stay what they are. Compile the model anew.

        Raises:
            ValueError: If there are no pairs, or other processes hold some of
                the kernels.
        """
        self._check_can_change("merge_lora")
        if self._pairs is None:
            raise ValueError(f"{self.name} has no low-rank pairs to merge.")
        weights = self.expert_weights
        for name, _, _ in self._kernels:
            tensors = [
                keras.ops.convert_to_numpy(weights[each])
                for each in (name, *names_of_pair(name))
            ]
            weights[name].assign(self._pairs.added(*tensors))
            _set_trainable(weights[name], True)
            for pair_name in names_of_pair(name):
                for variable in _variables_of(weights.pop(pair_name)):
                    self._untrack_variable(variable)
        self._expert_weights = tuple(weights.items())
        self._pairs = None

    def quantize(self, mode=None, type_check=True, config=None):
        """Keep the kernels in few bits; `keras.Model.quantize` calls it.

        "int8" keeps a scale for each column of each expert, "int4" a scale and
        a zero point for each group of 128 rows, or of the `block_size` of a
        `keras.quantizers.Int4QuantizationConfig`. Unlike those of Keras'
        layers, inputs are not rounded. Biases stay as they are.

        Args:
            mode: "int8" or "int4", or an `ExpertQuantization` for other bits
                and groups.
            type_check: bool. Not used.
            config: Keras quantization config of the mode, or None.

        Raises:
            ValueError: If the mode is another, the config has a quantizer of
                weights, or the layer is not built, is quantized already, has
                low-rank pairs, or is split over devices.
        """
        del type_check
        self.set_kernels(_quantization_of(mode, config, self.name))

    def set_kernels(self, quantization, rounded=None):
        """Keep the kernels in few bits, rounded as given.

        Args:
            quantization: `ExpertQuantization`.
            rounded: dict by name of a list of what `round_kernel` returns, for
                each expert; None rounds each weight to the nearest number.

        Raises:
            ValueError: As `quantize`.
        """
        self.check_can_be_packed()
        self._quantization = quantization
        weights = self.expert_weights
        was_locked = self._tracker.locked
        self._tracker.unlock()
        for name, _, dims in self._kernels:
            old = weights[name]
            new = PackedWeight(self, name, dict(dims).values(), quantization)
            if rounded is None:
                new.assign(old.numpy())
            else:
                new.assign_rounded(rounded[name])
            self._untrack_variable(old)
            weights[name] = new
            for attribute, value in list(vars(self).items()):
                if value is old:
                    setattr(self, attribute, new)
        self._expert_weights = tuple(weights.items())
        if was_locked:
            self._tracker.lock()

    def check_can_be_packed(self):
        """Raise a ValueError if `quantize` would."""
        self._check_can_change("quantize")
        if self._quantization is not None:
            raise ValueError(
                f"The kernels of {self.name} have few bits already: "
                f"{self._quantization}."
            )
        if self._pairs is not None:
            raise ValueError(
                f"{self.name} has low-rank pairs: call its `merge_lora()` "
                "before its kernels are quantized."
            )
        weights = self.expert_weights
        for name, _, _ in self._kernels:
            if isinstance(weights[name], SplitWeight):
                raise ValueError(
                    f"{weights[name].path} is split over devices, and is not "
                    "quantized there: save the model, load it on one device, "
                    "and quantize it there."
                )
            if not np.isfinite(weights[name].numpy()).all():
                raise ValueError(
                    f"{weights[name].path} has weights that are not finite, "
                    "and cannot be quantized."
                )

    def _add_pairs(self):
        kernels = self._kernels
        with self._placement.scope():
            for name, side_by_side, dims in kernels:
                for (
                    pair_name,
                    initializer,
                    sides,
                    pair_dims,
                ) in self._pairs.weights_for(name, dict(dims), side_by_side):
                    self.add_expert_weight(
                        pair_name,
                        each_alone(initializer),
                        side_by_side=sides,
                        **pair_dims,
                    )
                _set_trainable(self.expert_weights[name], False)
        self._kernels = kernels

    def _check_can_change(self, verb):
        if not self.built:
            raise ValueError(
                f"`{verb}` needs the weights of {self.name}: build the layer, "
                "or call its model, before."
            )

    def _saved_weights(self):
        """dict of weights by their names in files; those of pairs are last."""
        pairs = {
            pair_name
            for name, _, _ in self._kernels
            for pair_name in names_of_pair(name)
        }
        weights = self.expert_weights
        plain = [name for name in weights if name not in pairs]
        named = {}
        for number, name in enumerate(plain):
            weight = weights[name]
            if isinstance(weight, PackedWeight):
                for kind, variable in weight.parts.items():
                    named[f"{number}_{kind}"] = variable
            else:
                named[str(number)] = weight
        return named | {n: weights[n] for n in weights if n in pairs}

    def save_own_variables(self, store):
        for name, weight in self._saved_weights().items():
            store[name] = keras.ops.convert_to_numpy(weight)

    def load_own_variables(self, store):
        weights = self._saved_weights()
        found, wanted = set(store.keys()), set(weights)
        # A file from before `enable_lora`, whose pairs stay as they were made,
        # or from before `quantize`, whose kernels are rounded as they come.
        if self._pairs is not None or self._quantization is not None:
            as_made = [w for n, w in self._expert_weights if "_lora_" not in n]
            plain = {str(n): weight for n, weight in enumerate(as_made)}
            if found == set(plain):
                weights, wanted = plain, found
        if found != wanted:
            raise ValueError(
                f"{self.name} has {len(weights)} weights. "
                f"Received: {len(found)} in the file."
                + ("" if self.built else " Build the layer before loading.")
                + self._about_file(found)
            )
        for name in found:
            weights[name].assign(store[name])

    def _about_file(self, found):
        if self._pairs is None and any("_lora_" in name for name in found):
            return " It has low-rank pairs: call `enable_lora(rank)` before."
        if any(name.endswith("_codes") for name in found):
            return (
                " Its kernels have few bits: quantize the layer as they are "
                "before loading."
            )
        return ""

    def get_config(self):
        return {
            **super().get_config(),
            "lora_rank": self.lora_rank,
            "lora_alpha": self.lora_alpha,
            "quantization": keras.saving.serialize_keras_object(
                self._quantization
            ),
            "sparse_gradients": self.sparse_gradients,
        }


def _quantization_of(mode, config, name):
    """The `ExpertQuantization` that a mode or a config of Keras asks for."""
    if isinstance(mode, ExpertQuantization):
        return mode
    if config is not None and config.mode in ("int8", "int4"):
        if config.weight_quantizer is not None:
            raise ValueError(
                f"{name} rounds its kernels by scales for each expert, and "
                "takes no quantizer of weights. Leave it out, or leave this "
                f"layer out by `filters`. Received: {config.weight_quantizer}"
            )
        mode = config.mode
        block = getattr(config, "block_size", None)
        if mode == "int4":
            whole = block is None or block == -1
            return ExpertQuantization(4, None if whole else block)
    if mode not in ("int8", "int4"):
        raise ValueError(
            f"{name} holds experts, whose kernels a mode {mode!r} cannot "
            "reach: take 'int8' or 'int4', or `moe_keras.quantization."
            "quantize` for other bits and for GPTQ. To quantize other layers "
            "alone, leave this one out by `filters`."
        )
    return ExpertQuantization.of(mode)


def _variables_of(weight):
    return getattr(weight, "variables", (weight,))


def _set_trainable(weight, value):
    for variable in _variables_of(weight):
        variable.trainable = value


def _of_each(regularizer, side_by_side):
    """Sum of a regularizer over all experts' kernels, each taken alone."""
    summed = (
        keras.regularizers.L1,
        keras.regularizers.L2,
        keras.regularizers.L1L2,
    )
    if isinstance(regularizer, summed):
        return regularizer  # a sum over all numbers anyhow

    def regularize(weight):
        kernels = tf.split(tf.convert_to_tensor(weight), side_by_side, axis=-1)
        losses = tf.map_fn(regularizer, tf.concat(kernels, 0))
        return tf.reduce_sum(losses)

    return regularize


def check_takes_local(experts):
    """Raise a ValueError if a layer would not hear which experts to run.

    Args:
        experts: Layer that has an attribute `splits`.
    """
    signature = inspect.signature(experts.call)
    # Not among `**kwargs`: Keras refuses to mix it with the tensors in there.
    if "local" not in signature.parameters:
        raise ValueError(
            "To run on several devices, the `call` of experts must take an "
            "argument `local`, by this name, and hand it to `read` (see "
            "`StackedExperts`). "
            f"Received: {type(experts).__name__}.call{signature}"
        )


def check_weights_are_split(experts):
    """Raise a ValueError if a stacked layer has weights that no one splits.

    Args:
        experts: Built layer.
    """
    if not isinstance(experts, StackedExperts):
        return
    split = {
        id(variable)
        for weight in experts.expert_weights.values()
        for variable in getattr(weight, "variables", [weight])
    }
    others = [w.path for w in experts.weights if id(w) not in split]
    if others:
        raise ValueError(
            "To be split over devices, experts must make all their weights "
            "with `add_expert_weight`, or a device would compute with those of "
            f"other experts. Received, made otherwise: {', '.join(others)}"
        )


def run_in_parts(experts, run):
    """Call `run()`, in which experts run as a `LocalExperts`.

    Args:
        experts: Layer of experts.
        run: Function without arguments.

    Returns:
        What `run` returns.

    Raises:
        ValueError: If experts with split weights read a variable of their
            own: it is that of other experts, or on another device.
    """
    weights = getattr(experts, "expert_weights", {}).values()
    if not any(isinstance(weight, SplitWeight) for weight in weights):
        return run()
    with tf.GradientTape() as tape:
        results = run()
    read = [variable.name for variable in tape.watched_variables()]
    if read:
        raise ValueError(
            f"{type(experts).__name__} is split over devices and must take "
            "its weights by `self.read(name, local)`, with the `local` of its "
            f"call. It has read: {', '.join(read)}"
        )
    return results
