"""Strategies of `tf.distribute`, or layouts, made from flags."""

import tensorflow as tf

from moe_keras.parallel.mesh.layout import MeshLayout
from moe_keras.parallel.mesh.layout_checks import mesh_shape as shape_of_mesh
from moe_keras.parallel.mesh.processor import divide_processor
from moe_keras.parallel.processes.remote import connect
from moe_keras.parallel.processes.rendezvous import meet
from moe_keras.parallel.processes.workers import Workers
from moe_keras.parallel.replicas.placement import ReplicaPlacement

STRATEGIES = ("none", "mirrored", "multi_worker")
SHARED_OUT = "experts:replica"


def start_workers(
    strategy="none",
    devices=None,
    cluster=None,
    layout=None,
    about=None,
    mesh_shape=None,
):
    """Make the strategy, or the layout, of a program that trains.

    Call it before TensorFlow computes anything: later a processor cannot be
    divided into devices, and processes cannot connect.

    Args:
        strategy: str. "none"; "mirrored" for several devices of this process;
            "multi_worker" for several processes.
        devices: str. For "mirrored" and for a mesh: how many, or their names
            with commas between, as `GPU:0,GPU:2`. A number means GPUs, or
            parts of the processor if there is no GPU. By default all GPUs; for
            a mesh as many as it has places.
        cluster: `Cluster`, for "multi_worker"; for a mesh the addresses of
            this process and of the workers that lend it devices.
        layout: str or None. "experts:replica" to give each replica a part of
            the experts; by default each has all of them. For a mesh its
            layout rules.
        about: dict of what must be the same in all workers, see
            `rendezvous.meet`.
        mesh_shape: str or None. Dimensions of a mesh of devices, for the
            strategy "none": see `MeshLayout`.

    Returns:
        `Workers`.

    Raises:
        ValueError: If this cannot be had; `ClusterError` where it is for the
            other workers.

    Example:

    >>> start_workers("none").strategy.num_replicas_in_sync
    1
    """
    if strategy not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}. "
            f"Received: {strategy!r}"
        )
    if mesh_shape is not None:
        return _start_on_mesh(strategy, mesh_shape, layout, devices, cluster)
    _check_replicas(strategy, devices, cluster, layout)
    if strategy == "none":
        return Workers()
    if strategy == "mirrored":
        made = _mirrored(_device_names(devices))
    else:
        meet(cluster, {**(about or {}), "layout": layout})
        made = _multi_worker(cluster)
    return Workers(made, cluster, ReplicaPlacement(made) if layout else None)


def _check_replicas(strategy, devices, cluster, layout):
    """Raises a ValueError for what does not go with a strategy."""
    if devices is not None and strategy != "mirrored":
        raise ValueError(
            "`devices` is for the strategy mirrored, and for a mesh, which has "
            "a `mesh_shape`; a worker of several takes all its GPUs "
            "(CUDA_VISIBLE_DEVICES chooses). "
            f"Received: devices={devices}, strategy={strategy}"
        )
    if (cluster is None) == (strategy == "multi_worker"):
        raise ValueError(
            "A cluster is for the strategy multi_worker, which needs one, and "
            "for a mesh, which has a `mesh_shape`. "
            f"Received: cluster={cluster}, strategy={strategy}"
        )
    if layout not in (None, SHARED_OUT) or (layout and strategy == "none"):
        raise ValueError(
            f'`layout` must be "{SHARED_OUT}" or left out, and is for several '
            "replicas; with `mesh_shape` it says what is split over a mesh. "
            f"Received: layout={layout!r}, strategy={strategy}"
        )


def _start_on_mesh(strategy, mesh_shape, layout, devices, cluster):
    if strategy != "none" or layout is None:
        raise ValueError(
            "`mesh_shape` is for the strategy none, and needs a `layout` as "
            '"batch:all;experts:all". Received: '
            f"mesh_shape={mesh_shape!r}, layout={layout!r}, "
            f"strategy={strategy}"
        )
    if cluster is None:
        names = _device_names(devices or str(shape_of_mesh(mesh_shape).size))
    else:
        names = connect(cluster)
        names = devices.split(",") if devices else names
    placement = MeshLayout(mesh_shape, layout, names)
    return Workers(placement=placement, helpers=cluster)


def _mirrored(names):
    """Between parts of a processor sums are taken on one of them."""
    sums = None
    if any("CPU" in name.upper() for name in names):
        sums = tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(names, cross_device_ops=sums)


def _multi_worker(cluster):
    return tf.distribute.MultiWorkerMirroredStrategy(
        tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
            task_type="worker",
            task_id=cluster.index,
            rpc_layer="grpc",
        )
    )


def _device_names(devices):
    """Parse device names; divide the processor if they need it."""
    gpus = tf.config.list_physical_devices("GPU")
    if devices is None:
        return [f"GPU:{i}" for i in range(len(gpus))] or ["CPU:0"]
    if devices.isdigit() and int(devices):
        kind = "GPU" if gpus else "CPU"
        names = [f"{kind}:{i}" for i in range(int(devices))]
    else:
        names = devices.replace(" ", "").upper().split(",")
    processors = [name for name in names if name.startswith("CPU:")]
    known = {f"GPU:{i}" for i in range(len(gpus))}
    known |= {f"CPU:{i}" for i in range(len(processors))}
    if not {*names} <= known or len({*names}) < len(names):
        raise ValueError(
            "`devices` must be a number or different names, of GPUs that "
            f"TensorFlow sees here ({len(gpus)}) or parts of the processor "
            f"from CPU:0 on. Received: {devices}"
        )
    if len(processors) > 1:
        divide_processor(len(processors))
    return names
