"""How a run is spread over devices and processes."""

import dataclasses

from moe_keras.parallel.processes.cluster import (
    cluster_of,
    cluster_of_environment,
)
from moe_keras.parallel.processes.strategies import start_workers


@dataclasses.dataclass(frozen=True)
class WorkerOptions:
    """Devices and processes that train; by default this process alone.

    Example:

    >>> WorkerOptions().start().count
    1
    """

    strategy: str = "none"  # none, mirrored or multi_worker
    devices: str | None = None  # how many, or their names
    cluster: str | None = None  # HOST:PORT,HOST:PORT of all workers
    index: int | None = None  # of this worker's own address
    layout: str | None = None  # experts:replica, or the rules of a mesh
    mesh_shape: str | None = None  # of a mesh of devices, as data:2;model:2

    @classmethod
    def of_flags(cls, values):
        """Reads the options from flags.

        Args:
            values: Object with the values of `define_worker_flags` as
                attributes.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: getattr(values, name) for name in names})

    def start(self, must_agree=None):
        """Starts the workers, before TensorFlow computes anything.

        Args:
            must_agree: dict of what must be the same in all workers.

        Returns:
            `Workers`.

        Raises:
            ValueError: if this cannot be had; `ClusterError` where it is for
                the other workers.
        """
        return start_workers(
            self.strategy,
            self.devices,
            self._cluster(),
            self.layout,
            must_agree,
            self.mesh_shape,
        )

    def _cluster(self):
        if self.cluster:
            index = self.index
            if index is None and self.mesh_shape:
                index = 0  # the others run no program
            return cluster_of(self.cluster, index)
        if self.strategy == "multi_worker":
            return cluster_of_environment()
        return None
