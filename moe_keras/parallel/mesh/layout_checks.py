"""Checks of layouts, with one-line error messages."""

import keras
import tensorflow as tf

from moe_keras.parallel.mesh.mesh_tensorflow_import import mtf

DIMENSIONS = ("batch", "experts", "hidden")
_SEVERAL = "`moe_keras.parallel.divide_processor` makes several of a processor."


def mesh_shape(text):
    """`mtf.Shape` of "data:2;model:2".

    Raises:
        ValueError: if it cannot be read, or has a size below 1.

    Example:

    >>> mesh_shape("data:2;model:0")
    Traceback (most recent call last):
    ...
    ValueError: `mesh_shape` must be names and sizes of dimensions, as \
"data:2;model:2". Received: 'data:2;model:0'
    """
    try:
        shape = mtf.convert_to_shape(text)
        sizes = shape.to_integer_list
        is_right = sizes and min(sizes) > 0
    except (ValueError, TypeError, AttributeError):
        is_right = False
    if not is_right or len(set(shape.dimension_names)) < len(sizes):
        raise ValueError(
            "`mesh_shape` must be names and sizes of dimensions, as "
            f'"data:2;model:2". Received: {text!r}'
        )
    return shape


def mesh_axes(text, shape):
    """Over which dimension of a mesh each dimension of tensors is split.

    Args:
        text: str, as "batch:data;experts:model", or `mtf.LayoutRules`.
        shape: `mtf.Shape` of the mesh.

    Returns:
        dict of the number of a mesh dimension, or None, for each of
        `DIMENSIONS`.

    Raises:
        ValueError: for names that there are not, or rules that contradict
            each other.

    Example:

    >>> mesh_axes("batch:data", mesh_shape("data:2;model:2"))
    {'batch': 0, 'experts': None, 'hidden': None}
    """
    rules = _layout_rules(text, shape.dimension_names)
    axes = {}
    for dim in DIMENSIONS:
        try:
            axes[dim] = rules.tensor_dimension_to_mesh_axis(
                mtf.Dimension(dim, 1), shape
            )
        except ValueError as error:
            raise ValueError(
                f"`layout_rules` must split {dim} over one dimension of the "
                f"mesh. Received: {text!r}"
            ) from error
    for dim in ("batch", "experts"):
        if axes["hidden"] is not None and axes["hidden"] == axes[dim]:
            raise ValueError(
                f"`layout_rules` must split hidden and {dim} over two "
                f"dimensions of the mesh: the hidden activations have both. "
                f"Received: {text!r}"
            )
    return axes


def _layout_rules(text, names):
    """`mtf.LayoutRules` that name nothing but `DIMENSIONS` and `names`."""
    try:
        rules = mtf.convert_to_layout_rules(text)
    except ValueError as error:
        raise ValueError(
            "`layout_rules` must be pairs of a dimension of tensors and one "
            f'of the mesh, as "batch:data;experts:model". Received: {text!r}'
        ) from error
    known = {(dim, name) for dim in DIMENSIONS for name in names}
    strangers = _pairs(text, rules, names) - known
    if strangers:
        shown = ", ".join(sorted(":".join(pair) for pair in strangers))
        raise ValueError(
            f"`layout_rules` can split {', '.join(DIMENSIONS)} over the "
            f"mesh's {', '.join(names)}. Received: {shown}"
        )
    return rules


def _pairs(text, rules, names):
    """Set of what is split over what; rules tell of the mesh's names only."""
    if isinstance(text, str):
        pairs = text.replace(",", ";").replace(" ", ";").replace(".", ";")
        return {tuple(p.split(":")) for p in pairs.split(";") if p}
    return {
        (dim, name)
        for name in names
        for dim in rules.mesh_dimension_name_to_tensor_dimension_names(name)
    }


def devices(names, shape):
    """Full names of the devices of a mesh.

    Args:
        names: List of str, or None for the first GPUs or CPUs.
        shape: `mtf.Shape`.

    Raises:
        ValueError: if there are not as many, or TensorFlow does not know one.

    Example:

    >>> devices(["CPU:0"], mesh_shape("all:2"))
    Traceback (most recent call last):
    ...
    ValueError: The mesh all:2 has 2 devices. Received: 1, CPU:0. \
`moe_keras.parallel.divide_processor` makes several of a processor.
    """
    there = {
        kind: [d.name for d in tf.config.list_logical_devices(kind)]
        for kind in ("GPU", "CPU")
    }
    if names is None:
        names = (there["GPU"] or there["CPU"])[: shape.size]
    wanted = ";".join(f"{d.name}:{d.size}" for d in shape)
    if len(names) != shape.size:
        raise ValueError(
            f"The mesh {wanted} has {shape.size} devices. Received: "
            f"{len(names)}, {', '.join(names)}. {_SEVERAL}"
        )
    known = there["GPU"] + there["CPU"]
    return [_full_name(name, known) for name in names]


def _full_name(name, known):
    """A name as TensorFlow has it, if it is that of a device."""
    try:
        spec = tf.DeviceSpec.from_string(
            name if name.startswith("/") else f"/device:{name}"
        )
    except ValueError:
        spec = None
    for there in map(tf.DeviceSpec.from_string, known):
        if spec and there.make_merged_spec(spec) == there:
            return spec.to_string()
    raise ValueError(
        f"`devices` must be among {', '.join(known)}. Received: {name}. "
        f"{_SEVERAL}"
    )


def sizes_divide(dims, parts, side_by_side=1):
    """Raises a ValueError if a dimension cannot be cut into equal parts.

    Args:
        dims: dict of sizes by names of dimensions.
        parts: dict. Into how many parts some of them are cut.
        side_by_side: int. Kernels side by side in "hidden".

    Example:

    >>> sizes_divide({"experts": 6}, {"experts": 4})
    Traceback (most recent call last):
    ...
    ValueError: The layout splits experts over 4 devices, which 6 experts \
cannot be shared out to: take 4 or 8 experts, or split them over 1, 2, 3, 6.
    """
    for name, number in parts.items():
        size = dims.get(name, 0)
        if name == "hidden":
            size //= side_by_side
        if size % number == 0:
            continue
        what = "experts" if name == "experts" else "hidden units"
        below, above = size // number * number, -(-size // number) * number
        others = [str(n) for n in range(1, size + 1) if size % n == 0]
        raise ValueError(
            f"The layout splits {name} over {number} devices, which {size} "
            f"{what} cannot be shared out to: take "
            f"{f'{below} or ' if below else ''}{above} {what}, or split them "
            f"over {', '.join(others)}."
        )


def experts_can_be_split(experts, parts):
    """Raises a ValueError if a layer of experts cannot be.

    Args:
        experts: Layer as in `SparseMoE`, built.
        parts: dict. Into how many parts `DIMENSIONS` are cut.
    """
    can = getattr(experts, "splits", ())
    for name in ("experts", "hidden"):
        if parts[name] > 1 and name not in can:
            raise ValueError(
                f"The layout splits {name}, which {type(experts).__name__} "
                "cannot: it must be a "
                "`moe_keras.experts.stacked.StackedExperts`, "
                "or, for experts alone, a function that makes one Keras "
                f"layer. Received: {experts}"
            )
    activation = getattr(experts, "activation", None)
    if parts["hidden"] > 1 and not _is_elementwise(activation):
        raise ValueError(
            "The layout splits hidden, and so `activation` must work on each "
            f"hidden unit by itself. Received: {activation}"
        )


def _is_elementwise(activation):
    if activation is None:
        return True
    x = tf.constant([[-2.0, -0.5, 0.25, 3.0]])
    halves = [activation(half) for half in tf.split(x, 2, axis=-1)]
    whole = keras.ops.convert_to_numpy(activation(x))
    return whole.shape == x.shape and bool(
        tf.reduce_all(tf.abs(whole - tf.concat(halves, -1)) < 1e-6)
    )
