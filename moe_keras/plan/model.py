"""A model in numbers: its parameters, its ops, and what it keeps.

D: depth    H: hidden size of an expert    E: experts    K: experts per token
G: groups of a hierarchical gate
"""

import dataclasses
from typing import NamedTuple

# Kernels `(D, E)` of a gate's router, and whether experts have a number each.
_GATES = {
    "noisy_top_k": (2, 0),
    "hierarchical": (2, 0),
    "batchwise": (1, 1),
    "top_k": (1, 0),
    "switch": (1, 0),
    "bias_balanced": (1, 0),
    "threshold": (1, 0),
}


class Part(NamedTuple):
    """Layers that are no experts, counted.

    Attributes:
        parameters: int. Trainable numbers.
        ops: int. Multiply-adds for a token.
        kept: int. Numbers for a token that the backward pass needs.
        tables: int. Parameters that are embeddings or the softmax's.
        softmax_ops: int. Ops that are the softmax's.
    """

    parameters: int = 0
    ops: int = 0
    kept: int = 0
    tables: int = 0
    softmax_ops: int = 0


def total(parts):
    """The sum of `Part`s.

    >>> total([Part(2, 3, 4), Part(1, 1, 1)])
    Part(parameters=3, ops=4, kept=5, tables=0, softmax_ops=0)
    """
    return Part(*map(sum, zip(*parts, strict=True)))


def lstm(inputs, units, outputs, bias=True):
    """A `ProjectedLSTM` in a residual block.

    Kept are the activations of four gates, the cell before a step and the tanh
    of that after it, the input and the output in the order of time and what
    each step was handed by the one before, and with a projection what it
    projects. Where XLA compiles the recurrence, its backward pass is also
    handed the preactivations, which are not counted.

    Args:
        inputs: int. Width of the input.
        units: int. Cells.
        outputs: int. Width of the output; projected to it unlike `units`.
        bias: bool. Whether biases are counted.

    Returns:
        A `Part`.

    Example:

    >>> lstm(512, 2048, 512, bias=False).parameters
    9437184
    """
    projection = 0 if units == outputs else units * outputs
    kernels = (inputs + outputs) * 4 * units + projection
    kept = 6 * units + 3 * outputs + (units if projection else 0)
    return Part(kernels + (4 * units if bias else 0), kernels, kept)


def around_moe(depth):
    """What the models have around an MoE layer: dropout and a residual block.

    >>> around_moe(512).kept
    1024
    """
    return Part(kept=2 * depth)


def linear(inputs, outputs):
    """A linear map whose output is kept.

    >>> linear(3, 4)
    Part(parameters=12, ops=12, kept=4, tables=0, softmax_ops=0)
    """
    return Part(inputs * outputs, inputs * outputs, outputs)


def softmax(depth, vocabulary, candidates=None, own_table=True):
    """The softmax over the vocabulary, with its probabilities.

    Args:
        depth: int. Width of what it reads.
        vocabulary: int.
        candidates: int or None. Of a sampled softmax.
        own_table: bool. False where it shares the table of the embedding.

    Returns:
        A `Part`; kept are logits, probabilities and the gradient.
    """
    table = vocabulary * depth if own_table else 0
    width = candidates or vocabulary
    ops = depth * width
    return Part(table, ops, 3 * width, table, ops)


def table(depth, vocabulary):
    """An embedding, whose output is kept, and the mask of its dropout."""
    return Part(vocabulary * depth, 0, 2 * depth, vocabulary * depth)


@dataclasses.dataclass(frozen=True)
class MoE:
    """A mixture-of-experts layer in numbers.

    Raises:
        ValueError: if a size is below 1, or groups do not divide the experts.

    Example:

    >>> layer = MoE(512, 1024, 4096, gate="hierarchical", groups=16)
    >>> layer.expert_parameters, layer.gate_parameters
    (4294967296, 4210688)
    """

    depth: int  # D
    hidden_dim: int  # H
    num_experts: int  # E
    k: int = 4  # K
    gate: str = "noisy_top_k"
    groups: int = 1  # G, of a hierarchical gate
    groups_per_token: int = 2  # of a hierarchical gate
    bias: bool = False  # whether experts have biases
    recompute: bool = False  # hidden activations, in the backward pass

    def __post_init__(self):
        for name in ("depth", "hidden_dim", "num_experts", "k", "groups"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. "
                    f"Received: {name}={value!r}"
                )
        if self.gate not in _GATES:
            raise ValueError(
                f"`gate` must be one of {', '.join(_GATES)}. "
                f"Received: gate={self.gate!r}"
            )
        if self.k > self.num_experts or self.num_experts % self.groups:
            raise ValueError(
                "`k` must not exceed `num_experts`, and `groups` must divide "
                f"it. Received: k={self.k}, num_experts={self.num_experts}, "
                f"groups={self.groups}"
            )

    @property
    def kernel_parameters(self):
        """Of all experts' kernels."""
        return self.num_experts * 2 * self.depth * self.hidden_dim

    @property
    def expert_parameters(self):
        """Of all experts."""
        biases = self.num_experts * (self.depth + self.hidden_dim)
        return self.kernel_parameters + (biases if self.bias else 0)

    @property
    def gate_parameters(self):
        """Of the router or, of a hierarchy, all routers."""
        kernels, numbers = _GATES[self.gate]
        columns = self.num_experts
        if self.gate == "hierarchical":
            columns += self.groups
        return kernels * self.depth * columns + numbers * self.num_experts

    @property
    def expert_ops(self):
        """Multiply-adds of the K experts of a token."""
        return self.k * 2 * self.depth * self.hidden_dim

    @property
    def logits(self):
        """Numbers that a gate computes for a token with each kernel."""
        if self.gate != "hierarchical":
            return self.num_experts
        group = self.num_experts // self.groups
        return self.groups + min(self.groups, self.groups_per_token) * group

    @property
    def gate_ops(self):
        """Multiply-adds of the router for a token."""
        return _GATES[self.gate][0] * self.depth * self.logits

    @property
    def gate_kept(self):
        """Numbers for a token that the gate's backward pass needs.

        Of a noisy gate the noise, its size before the softplus, and two steps
        from there to the chance of being chosen; of others a softmax. Of a
        hierarchical one also the tokens, sorted by their groups.
        """
        each = 5 if _GATES[self.gate][0] == 2 else 1
        rows = 0
        if self.gate == "hierarchical":
            rows = min(self.groups, self.groups_per_token) * self.depth
        return each * self.logits + rows

    @property
    def factored_gate_parameters(self):
        """Parameters of the stacked routers of a hierarchical gate."""
        is_hierarchical = self.gate == "hierarchical"
        return 2 * self.depth * self.num_experts if is_hierarchical else 0

    @property
    def factored_gate_averages(self):
        """What `FactoredAdam` keeps of them: a number for row and column."""
        if self.gate != "hierarchical":
            return 0
        return 2 * (self.groups * self.depth + self.num_experts)

    @property
    def token_kept(self):
        """Numbers that a token's own device keeps: of the gate, the output."""
        return self.gate_kept + self.depth


@dataclasses.dataclass(frozen=True)
class Model:
    """A model in numbers.

    Attributes:
        name: str.
        dense: `Part`, all but the MoE layers.
        moe: tuple of `MoE`.
        tokens: int. Tokens of a batch, on all devices, that each MoE layer
            reads in a step.
        devices: int. Devices of the paper's run, or 1.
    """

    name: str
    dense: Part
    moe: tuple
    tokens: int
    devices: int = 1

    @property
    def expert_parameters(self):
        return sum(layer.expert_parameters for layer in self.moe)

    @property
    def mirrored_parameters(self):
        """All but the experts."""
        gates = sum(layer.gate_parameters for layer in self.moe)
        return self.dense.parameters + gates

    @property
    def parameters(self):
        return self.mirrored_parameters + self.expert_parameters

    @property
    def parameters_without_tables(self):
        """As the paper counts them: without embedding and softmax."""
        return self.parameters - self.dense.tables

    @property
    def expert_ops(self):
        return sum(layer.expert_ops for layer in self.moe)

    @property
    def mirrored_ops(self):
        """Multiply-adds for a token outside of the experts."""
        return self.dense.ops + sum(layer.gate_ops for layer in self.moe)
