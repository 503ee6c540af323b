"""What experts learn: where tokens go, and what that tells (docs/experts.md).

It takes the names of tokens and the choices of a layer, which
`moe_keras.monitoring.collected_routing` gets out of a model.
"""

from moe_keras.analysis.files import read_studies, write_studies
from moe_keras.analysis.information import (
    Factor,
    Information,
    measure_information,
)
from moe_keras.analysis.markdown import markdown
from moe_keras.analysis.profiles import Extent
from moe_keras.analysis.routed_tokens import RoutedTokens
from moe_keras.analysis.study import LayerStudy, study_layer

__all__ = [
    "Extent",
    "Factor",
    "Information",
    "LayerStudy",
    "RoutedTokens",
    "markdown",
    "measure_information",
    "read_studies",
    "study_layer",
    "write_studies",
]
