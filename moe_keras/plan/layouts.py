"""Layouts: in how many ways batch, experts and hidden layer are split."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layout:
    """One way to use R devices.

    Attributes:
        name: str.
        flags: str. What the trainer is told.
        devices: int. R.
        batch: int. Parts of the batch.
        experts: int. Parts of the experts of each layer.
        hidden: int. Parts of the hidden layer of each expert.
        is_mirrored: bool. Whether all layers but the experts are on every
            device and share the batch, as replicas of `tf.distribute` do;
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
    def parts(self):
        """Pieces that the experts' weights are in."""
        return self.experts * self.hidden

    @property
    def exchanges(self):
        """Whether each token travels to its experts' devices alone."""
        return self.batch == self.experts == self.devices

    @property
    def copies(self):
        """Devices that hold the same piece."""
        return self.devices // self.parts


def layouts(model, devices):
    """All layouts of so many devices that the sizes of a model allow.

    Args:
        model: `Model`.
        devices: int. R.

    Returns:
        List of `Layout`.

    Raises:
        ValueError: if `devices` is below 1.

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


def _of_replicas(devices):
    strategy = "--strategy=mirrored"
    yield Layout("replicas", strategy, devices, devices, is_mirrored=True)
    yield Layout(
        "replicas, experts shared out",
        f"{strategy} --layout=experts:replica",
        devices,
        devices,
        devices,
        is_mirrored=True,
    )


def _of_meshes(devices):
    one = f"--mesh_shape=all:{devices}"
    yield Layout(
        "mesh, batch and experts",
        f"{one} --layout=batch:all;experts:all",
        devices,
        devices,
        devices,
    )
    yield Layout("mesh, batch", f"{one} --layout=batch:all", devices, devices)
    yield Layout(
        "mesh, experts", f"{one} --layout=experts:all", devices, 1, devices
    )
    yield Layout(
        "mesh, hidden", f"{one} --layout=hidden:all", devices, 1, 1, devices
    )
    for first in range(2, devices // 2 + 1):
        if devices % first:
            continue
        second = devices // first
        two = f"--mesh_shape=data:{first};model:{second}"
        yield Layout(
            f"mesh, batch {first} x experts {second}",
            f"{two} --layout=batch:data;experts:model",
            devices,
            first,
            second,
        )
        two = f"--mesh_shape=model:{first};inner:{second}"
        yield Layout(
            f"mesh, experts {first} x hidden {second}",
            f"{two} --layout=experts:model;hidden:inner",
            devices,
            1,
            first,
            second,
        )
