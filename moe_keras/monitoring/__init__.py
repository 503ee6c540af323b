"""How evenly experts are used, and whether it stays so (docs/monitoring.md)."""

from moe_keras.monitoring.callback import RoutingMonitor
from moe_keras.monitoring.layers import routing_layers
from moe_keras.monitoring.observers import (
    CallRecord,
    CollectedRouting,
    Observers,
    collected_routing,
    uncounted,
)
from moe_keras.monitoring.recorder import RoutingRecorder
from moe_keras.monitoring.statistics import (
    RoutingMetric,
    RoutingStatistics,
)
from moe_keras.monitoring.tensorboard import RoutingSummaries
from moe_keras.monitoring.verdicts import LEVELS, Judge, Thresholds, Verdict
from moe_keras.monitoring.watch import LayerWatch
from moe_keras.monitoring.windows import RoutingWindow, WindowFile, make_window

__all__ = [
    "LEVELS",
    "CallRecord",
    "CollectedRouting",
    "Judge",
    "LayerWatch",
    "Observers",
    "RoutingMetric",
    "RoutingMonitor",
    "RoutingRecorder",
    "RoutingStatistics",
    "RoutingSummaries",
    "RoutingWindow",
    "Thresholds",
    "Verdict",
    "WindowFile",
    "collected_routing",
    "make_window",
    "routing_layers",
    "uncounted",
]
