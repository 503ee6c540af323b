"""LoRA of stacked experts: the methods that make pairs and merge them.

E: experts    D: depth    H: hidden size
"""

import keras

from moe_keras.experts.initial_values import each_alone
from moe_keras.experts.low_rank import LowRankPairs, names_of_pair


class LowRankExperts:
    """Mixin of `StackedExperts`: low-rank pairs beside frozen kernels.

    Args:
        lora_rank: int. Rank of the pairs that are made with the layer, as
            `enable_lora` makes them later; None for none.
        lora_alpha: float. See `enable_lora`.
        **kwargs: Arguments of the next class.

    Example:

    >>> from moe_keras import FeedForwardExperts
    >>> experts = FeedForwardExperts(num_experts=3, hidden_dim=16)
    >>> experts.build((3, None, 8))
    >>> experts.enable_lora(rank=2)
    >>> [w.name for w in experts.trainable_weights if "kernel_in" in w.name]
    ['kernel_in_lora_a', 'kernel_in_lora_b']
    """

    def __init__(self, lora_rank=None, lora_alpha=None, **kwargs):
        super().__init__(**kwargs)
        self._pairs = None
        if None not in (lora_rank, self.quantization):
            raise ValueError(
                "`lora_rank` needs kernels as they are: low-rank pairs beside "
                "kernels of few bits are not supported. Received: "
                f"lora_rank={lora_rank}, quantization={self.quantization}"
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
        self._check_is_built("enable_lora")
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
        self._check_is_built("merge_lora")
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

    def check_can_be_packed(self):
        if self._pairs is not None:
            raise ValueError(
                f"{self.name} has low-rank pairs: call its `merge_lora()` "
                "before its kernels are quantized."
            )
        super().check_can_be_packed()

    def files(self):
        files = super().files()
        if self._pairs is None:
            return files
        weights = self.expert_weights
        pairs = {n: weights[n] for n in self.pair_names if n in weights}
        # The second is from before `enable_lora`: pairs stay as they were made.
        return [files[0] | pairs, files[0]]

    def about_file(self, found):
        if self._pairs is None and any("_lora_" in name for name in found):
            return " It has low-rank pairs: call `enable_lora(rank)` before."
        return super().about_file(found)

    def is_frozen(self, name):
        """Whether the variables of a weight cannot train."""
        variables = _variables_of(self.expert_weights[name])
        return not any(variable.trainable for variable in variables)

    @property
    def pair_names(self):
        """Names of the weights of all pairs, whether there are any or not."""
        return [
            pair_name
            for name, _, _ in self._kernels
            for pair_name in names_of_pair(name)
        ]

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

    def _check_is_built(self, verb):
        if not self.built:
            raise ValueError(
                f"`{verb}` needs the weights of {self.name}: build the layer, "
                "or call its model, before."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "lora_rank": self.lora_rank,
            "lora_alpha": self.lora_alpha,
        }


def _variables_of(weight):
    return getattr(weight, "variables", (weight,))


def _set_trainable(weight, value):
    for variable in _variables_of(weight):
        variable.trainable = value
