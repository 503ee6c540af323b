"""How evenly experts are used, and whether it stays so (docs/monitoring.md)."""

from moe_keras.monitoring.callback import RoutingMonitor
from moe_keras.monitoring.collecting import (
    CollectedRouting,
    collect_routing,
    collected_routing,
)
from moe_keras.monitoring.counting import is_counting, uncounted
from moe_keras.monitoring.recorder import RoutingRecorder
from moe_keras.monitoring.statistics import (
    RoutingMetric,
    RoutingStatistics,
    routing_layers,
)
from moe_keras.monitoring.tensorboard import RoutingSummaries
from moe_keras.monitoring.verdicts import LEVELS, Judge, Thresholds, Verdict
from moe_keras.monitoring.watch import LayerWatch
from moe_keras.monitoring.windows import RoutingWindow, WindowFile, measure

__all__ = [
    "LEVELS",
    "CollectedRouting",
    "Judge",
    "LayerWatch",
    "RoutingMetric",
    "RoutingMonitor",
    "RoutingRecorder",
    "RoutingStatistics",
    "RoutingSummaries",
    "RoutingWindow",
    "Thresholds",
    "Verdict",
    "WindowFile",
    "collect_routing",
    "collected_routing",
    "is_counting",
    "measure",
    "routing_layers",
    "uncounted",
]
