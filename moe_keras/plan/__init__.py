"""Plans layouts: what a model needs of each device, before it is run.

`python -m moe_keras.plan --help` is its program. Nothing here builds a layer
or asks a device: it counts sizes, in plain integers.

N: tokens of a batch    D: depth    H: hidden size of an expert    E: experts
K: experts per token    R: devices
"""

from moe_keras.plan.config_file import read_model
from moe_keras.plan.layouts import Layout, layouts
from moe_keras.plan.memory import Memory, Training, memory
from moe_keras.plan.model import LayerCost, Model, MoE
from moe_keras.plan.planner import Plan, devices_needed, plan
from moe_keras.plan.presets import PRESETS
from moe_keras.plan.step_time import Speed, StepTime, step_time
from moe_keras.plan.traffic import Traffic, traffic

__all__ = [
    "PRESETS",
    "LayerCost",
    "Layout",
    "Memory",
    "MoE",
    "Model",
    "Plan",
    "Speed",
    "StepTime",
    "Traffic",
    "Training",
    "devices_needed",
    "layouts",
    "memory",
    "plan",
    "read_model",
    "step_time",
    "traffic",
]
