"""A model in numbers: parameters, multiply-adds, activations for training.

D: depth    H: hidden size of an expert    E: experts    K: experts per token
G: groups of a hierarchical gate
"""

import dataclasses
import math
from typing import NamedTuple

from moe_keras.gating import GATES
from moe_keras.gating.configured import has_bias
from moe_keras.gating.sizes import GateSizes
from moe_keras.optimizers import is_factored


class LayerCost(NamedTuple):
    """What layers without experts cost.

    Attributes:
        parameters: int. Trainable parameters.
        ops: int. Multiply-adds for a token.
        kept: int. Numbers for a token that the backward pass needs.
        tables: int. Parameters of embeddings and of the softmax.
        softmax_ops: int. Multiply-adds of the softmax.
    """

    parameters: int = 0
    ops: int = 0
    kept: int = 0
    tables: int = 0
    softmax_ops: int = 0


def total(costs):
    """Adds up costs.

    >>> total([LayerCost(2, 3, 4), LayerCost(1, 1, 1)])
    LayerCost(parameters=3, ops=4, kept=5, tables=0, softmax_ops=0)
    """
    return LayerCost(*map(sum, zip(*costs, strict=True)))


def lstm(inputs, units, outputs, bias=True):
    """Counts a `ProjectedLSTM` in a residual block.

    Kept are the activations of four gates, the cell before a step and its tanh
    after, the input and the output in the order of time, what each step got
    from the one before, and with a projection what it projects. Where XLA
    compiles the recurrence, its backward pass also gets the preactivations,
    which are not counted.

    Args:
        inputs: int. Width of the input.
        units: int. Cells.
        outputs: int. Width of the output. Where it is not `units`, the output
            is projected to it.
        bias: bool. Whether to count biases.

    Returns:
        A `LayerCost`.

    Example:

    >>> lstm(512, 2048, 512, bias=False).parameters
    9437184
    """
    projection = 0 if units == outputs else units * outputs
    kernels = (inputs + outputs) * 4 * units + projection
    kept = 6 * units + 3 * outputs + (units if projection else 0)
    return LayerCost(kernels + (4 * units if bias else 0), kernels, kept)


def around_moe(depth):
    """Counts what stands around an MoE layer: dropout and a residual block.

    >>> around_moe(512).kept
    1024
    """
    return LayerCost(kept=2 * depth)


def linear(inputs, outputs):
    """Counts a linear map whose output is kept.

    >>> linear(3, 4)
    LayerCost(parameters=12, ops=12, kept=4, tables=0, softmax_ops=0)
    """
    return LayerCost(inputs * outputs, inputs * outputs, outputs)


def softmax(depth, vocabulary, candidates=None, own_table=True):
    """Counts the softmax over the vocabulary.

    Args:
        depth: int. Width of its input.
        vocabulary: int.
        candidates: int or None. Candidates of a sampled softmax.
        own_table: bool. False where it shares the table of the embedding.

    Returns:
        A `LayerCost`; kept are logits, probabilities and the gradient.
    """
    table = vocabulary * depth if own_table else 0
    width = candidates or vocabulary
    ops = depth * width
    return LayerCost(table, ops, 3 * width, table, ops)


def table(depth, vocabulary):
    """Counts an embedding, whose output and dropout mask are kept."""
    return LayerCost(vocabulary * depth, 0, 2 * depth, vocabulary * depth)


@dataclasses.dataclass(frozen=True)
class MoE:
    """A mixture-of-experts layer in numbers.

    Raises:
        ValueError: If a size is below 1, the gate is unknown, `k` exceeds the
            number of experts, or `groups` does not divide it.

    Example:

    >>> layer = MoE(512, 1024, 4096, gate="hierarchical", groups=16)
    >>> layer.expert_parameters, layer.gate_parameters
    (4294967296, 4210688)
    >>> MoE(4096, 14336, 8, k=2, gate="top_k", gated=True).active_parameters
    352321536
    """

    depth: int  # D
    hidden_dim: int  # H
    num_experts: int  # E
    k: int = 4  # K
    gate: str = "noisy_top_k"
    groups: int = 1  # G, of a hierarchical gate
    groups_per_token: int = 2  # of a hierarchical gate
    bias: bool = False  # whether experts have biases
    gate_bias: bool = False  # whether the gate's logits have a bias
    gated: bool = False  # three matrices in an expert, as in SwiGLU
    shared_hidden_dim: int = 0  # H of a shared expert, of the same kind
    shared_gate: bool = False  # whether that has a gate of its own
    recompute: bool = False  # of hidden activations in the backward pass

    def __post_init__(self):
        for name in ("depth", "hidden_dim", "num_experts", "k", "groups"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. "
                    f"Received: {name}={value!r}"
                )
        shared = self.shared_hidden_dim
        if type(shared) is not int or shared < 0:
            raise ValueError(
                "`shared_hidden_dim` must be an integer from 0 on. "
                f"Received: shared_hidden_dim={shared!r}"
            )
        if self.gate not in GATES:
            raise ValueError(
                f"`gate` must be one of {', '.join(GATES)}. "
                f"Received: gate={self.gate!r}"
            )
        groups = self.groups if GATES[self.gate].uses_groups else 1
        if self.k > self.num_experts or self.num_experts % groups:
            raise ValueError(
                "`k` must not exceed `num_experts`, and `groups` must divide "
                f"it. Received: k={self.k}, num_experts={self.num_experts}, "
                f"groups={self.groups}"
            )

    @property
    def sides(self):
        """Number of kernels side by side before the activation."""
        return 2 if self.gated else 1

    @property
    def kernel_shapes(self):
        """Shapes of the kernels of one expert."""
        return (
            (self.depth, self.sides * self.hidden_dim),
            (self.hidden_dim, self.depth),
        )

    @property
    def kernel_parameters(self):
        """Parameters of the experts' kernels."""
        return self.num_experts * sum(map(math.prod, self.kernel_shapes))

    @property
    def expert_parameters(self):
        """Parameters of all experts but the shared one."""
        biases = self.depth + self.sides * self.hidden_dim
        return self.kernel_parameters + (
            self.num_experts * biases if self.bias else 0
        )

    @property
    def active_parameters(self):
        """Parameters of the K experts of a token."""
        return self.k * self.expert_parameters // self.num_experts

    @property
    def shared_parameters(self):
        """Parameters of the shared expert and of its gate."""
        hidden = self.shared_hidden_dim
        if not hidden:
            return 0
        kernels = (self.sides + 1) * self.depth * hidden
        biases = self.depth + self.sides * hidden if self.bias else 0
        return kernels + biases + (self.depth if self.shared_gate else 0)

    @property
    def shared_ops(self):
        """Multiply-adds of the shared expert and its gate for a token."""
        kernels = (self.sides + 1) * self.depth * self.shared_hidden_dim
        return kernels + (self.depth if self.shared_gate else 0)

    @property
    def gate_cost(self):
        """Cost of the gate, a `GateCost`, as its class gives it."""
        sizes = GateSizes(
            depth=self.depth,
            num_experts=self.num_experts,
            k=self.k,
            groups=self.groups,
            groups_per_token=self.groups_per_token,
            bias=self.gate_bias,
        )
        return GATES[self.gate].cost(sizes)

    @property
    def gate_parameters(self):
        """Parameters of the gate."""
        return self.gate_cost.parameters

    @property
    def gate_ops(self):
        """Multiply-adds of the gate for a token."""
        return self.gate_cost.ops

    @property
    def expert_ops(self):
        """Multiply-adds of the K experts of a token."""
        return self.k * sum(map(math.prod, self.kernel_shapes))

    @property
    def recomputed_ops(self):
        """Multiply-adds of the backward pass that repeat the forward pass."""
        return self.k * math.prod(self.kernel_shapes[0]) * self.recompute

    @property
    def factored_parameters(self):
        """Parameters beside the experts that `FactoredAdam` factors.

        Those of a hierarchical gate, and of a shared expert.
        """
        return sum(map(math.prod, self._factored_shapes()))

    @property
    def factored_averages(self):
        """Averages that `FactoredAdam` keeps of them, by row and by column."""
        return sum(
            math.prod(stack) * (rows + columns)
            for *stack, rows, columns in self._factored_shapes()
        )

    def _factored_shapes(self):
        shapes = list(self.gate_cost.weights.values())
        if self.shared_hidden_dim:
            hidden = self.shared_hidden_dim
            shapes.append((1, self.depth, self.sides * hidden))
            shapes.append((1, hidden, self.depth))
        return filter(is_factored, shapes)

    @property
    def token_kept(self):
        """Numbers that a token's own device keeps.

        Those of the gate, of the output and of the shared expert.
        """
        shared = self.sides * self.shared_hidden_dim
        return self.gate_cost.kept + self.depth + shared


def moe_from_config(config):
    """The MoE layers that a dict with the fields of `MoEConfig` describes."""
    return MoE(
        depth=config["depth"],
        hidden_dim=config["expert_hidden_dim"],
        num_experts=config["num_experts"],
        k=config["experts_per_token"],
        gate=config["gate"],
        groups=config["expert_groups"],
        groups_per_token=config["groups_per_token"],
        bias=config["expert_bias"],
        shared_hidden_dim=config["shared_hidden_dim"] or 0,
        gate_bias=has_bias(config["gate"], config["gate_options"]),
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """A model in numbers.

    Attributes:
        name: str.
        dense: `LayerCost` of all layers but the MoE layers.
        moe: tuple of `MoE`.
        tokens: int. Tokens of a batch, on all devices together, that each MoE
            layer reads in a step.
        devices: int. Number of devices of the paper's run, or 1.
    """

    name: str
    dense: LayerCost
    moe: tuple
    tokens: int
    devices: int = 1

    @property
    def expert_parameters(self):
        return sum(layer.expert_parameters for layer in self.moe)

    @property
    def mirrored_parameters(self):
        """Parameters of everything but the experts among which gates choose."""
        return self.dense.parameters + sum(
            layer.gate_parameters + layer.shared_parameters
            for layer in self.moe
        )

    @property
    def parameters(self):
        return self.mirrored_parameters + self.expert_parameters

    @property
    def active_parameters(self):
        """Parameters that a token uses, embedding and softmax included."""
        chosen = sum(layer.active_parameters for layer in self.moe)
        return self.mirrored_parameters + chosen

    @property
    def parameters_without_tables(self):
        """Parameters as the paper counts them: no embedding, no softmax."""
        return self.parameters - self.dense.tables

    @property
    def expert_ops(self):
        return sum(layer.expert_ops for layer in self.moe)

    @property
    def mirrored_ops(self):
        """Multiply-adds for a token outside the experts."""
        return self.dense.ops + sum(
            layer.gate_ops + layer.shared_ops for layer in self.moe
        )
