"""Layouts: the ways to split batch, experts and hidden layers."""

import dataclasses
import shlex

from moe_keras.plan.model import Model


@dataclasses.dataclass(frozen=True)
class Layout:
    """One way to use R devices.

    Attributes:
        name: str.
        flags: str. Flags of the trainer, quoted for a shell.
        devices: int. R.
        batch: int. Number of pieces of the batch.
        experts: int. Number of pieces of the experts of each layer.
        hidden: int. Number of pieces of the hidden layer of each expert.
        is_mirrored: bool. Whether all layers but the experts are on every
            device, which share the batch like replicas of `tf.distribute`;
            otherwise they are on the first device, as with a `MeshLayout`.
    """

    name: str
    flags: str
    devices: int
    batch: int = 1
    experts: int = 1
    hidden: int = 1
    is_mirrored: bool = False

    @property
    def pieces(self):
        """Number of pieces of the experts' weights."""
        return self.experts * self.hidden

    @property
    def exchanges(self):
        """Whether one dimension of the devices splits batch and experts.

        Each piece of the batch is then on a device with some of the experts,
        and its tokens travel from there.
        """
        return self.batch * self.pieces > self.devices

    @property
    def copies(self):
        """Number of devices that hold the same piece."""
        return self.devices // self.pieces


def layouts(model: Model, devices: int) -> list[Layout]:
    """Lists the layouts of R devices that the sizes of a model allow.

    Args:
        model: `Model`.
        devices: int. R.

    Returns:
        List of `Layout`.

    Raises:
        ValueError: If `devices` is below 1.

    Example:

    >>> from moe_keras.plan.presets import PRESETS
    >>> [layout.name for layout in layouts(PRESETS["moe_4"], 2)][:2]
    ['replicas', 'replicas, experts shared out']
    """
    if type(devices) is not int or devices < 1:
        raise ValueError(
            f"`devices` must be a positive integer. Received: {devices!r}"
        )
    if devices == 1:
        return [Layout("one device", "", 1, is_mirrored=True)]
    if not model.moe:  # there are no experts to be split
        return [next(_of_replicas(devices))]
    return [
        layout
        for layout in (*_of_replicas(devices), *_of_meshes(devices))
        if _fits_sizes(model, layout)
    ]


def _fits_sizes(model, layout):
    return not any(
        layer.num_experts % layout.experts or layer.hidden_dim % layout.hidden
        for layer in model.moe
    )


def _flags(**values):
    """Quotes flags for a shell, where a bare `;` would end the command."""
    pairs = values.items()
    return " ".join(f"--{name}={shlex.quote(text)}" for name, text in pairs)


def _of_replicas(devices):
    mirrored = {"strategy": "mirrored", "devices": str(devices)}
    yield Layout(
        "replicas", _flags(**mirrored), devices, devices, is_mirrored=True
    )
    yield Layout(
        "replicas, experts shared out",
        _flags(**mirrored, layout="experts:replica"),
        devices,
        devices,
        devices,
        is_mirrored=True,
    )


def _of_meshes(devices):
    def on_one(name, layout, **parts):
        flags = _flags(mesh_shape=f"all:{devices}", layout=layout)
        return Layout(f"mesh, {name}", flags, devices, **parts)

    yield on_one(
        "batch and experts",
        "batch:all;experts:all",
        batch=devices,
        experts=devices,
    )
    yield on_one("batch", "batch:all", batch=devices)
    yield on_one("experts", "experts:all", experts=devices)
    yield on_one("hidden", "hidden:all", hidden=devices)
    for first in range(2, devices // 2 + 1):
        if devices % first == 0:
            yield from _of_two_dimensions(devices, first, devices // first)


def _of_two_dimensions(devices, first, second):
    yield Layout(
        f"mesh, batch and experts {first} x hidden {second}",
        _flags(
            mesh_shape=f"data:{first};model:{second}",
            layout="batch:data;experts:data;hidden:model",
        ),
        devices,
        batch=first,
        experts=first,
        hidden=second,
    )
    yield Layout(
        f"mesh, batch {first} x experts {second}",
        _flags(
            mesh_shape=f"data:{first};model:{second}",
            layout="batch:data;experts:model",
        ),
        devices,
        batch=first,
        experts=second,
    )
    yield Layout(
        f"mesh, experts {first} x hidden {second}",
        _flags(
            mesh_shape=f"model:{first};inner:{second}",
            layout="experts:model;hidden:inner",
        ),
        devices,
        experts=first,
        hidden=second,
    )
