"""Packaging. Tool settings (pytest, ruff) live in pyproject.toml."""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent
version = {}
exec((ROOT / "moe_keras/version.py").read_text(encoding="utf-8"), version)

HUB = ["keras-hub==0.32.*"]
# BLEU of Japanese and Korean as sacreBLEU measures it.
JA = ["sacrebleu[ja]>=2.6"]
KO = ["sacrebleu[ko]>=2.6"]
PLOTS = ["matplotlib>=3.8"]
# tensorflow-datasets imports the second without asking for it.
WMT = ["tensorflow-datasets>=4.9.9", "importlib-resources"]
SERVING = ["tensorflow-serving-api>=2.21,<2.22"]
# Warm-up requests are messages of SERVING.
SERVE = [
    *SERVING,
    "httptools>=0.6.3",
    "prometheus-client>=0.20",
    "starlette>=1.0",
    "uvicorn>=0.34",
    "uvloop",
]
# Tests in a browser; docs/serving.md says where the browser comes from.
BROWSER = ["axe-playwright-python", "playwright"]

setuptools.setup(
    name="moe-keras",
    version=version["__version__"],
    description="Sparsely-gated mixture-of-experts layers for Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    project_urls={"Paper": "https://arxiv.org/abs/1701.06538"},
    keywords="mixture of experts, MoE, Keras, TensorFlow, translation",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=setuptools.find_packages(
        include=[
            "moe_keras*",
            "translation*",
            "language_model*",
            "server*",
            "trainers*",
        ]
    ),
    package_data={"moe_keras": ["py.typed"], "server": ["static/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "absl-py",
        "grpcio",
        "keras>=3.15,<4",
        "mesh-tensorflow>=0.1.21",
        "numpy",
        "sacrebleu>=2.6",
        "sentencepiece>=0.2",
        "tensorboard",
        "tensorflow>=2.21,<2.22",
        "tensorflow-text>=2.21,<2.22",
    ],
    extras_require={
        "browser": BROWSER,
        "hub": HUB,
        "ja": JA,
        "ko": KO,
        "plots": PLOTS,
        "serve": SERVE,
        "serving": SERVING,
        "wmt": WMT,
        "dev": [
            *BROWSER,
            *HUB,
            *JA,
            *KO,
            *PLOTS,
            *SERVE,
            *WMT,
            "build",
            "pre-commit",
            "pytest>=8",
            "pytest-xdist",
            "ruff>=0.14",
        ],
    },
    entry_points={
        "console_scripts": [
            "moe-serve = trainers.cli:serve",
            "moe-train-lm = trainers.cli:lm",
            "moe-train-nmt = trainers.cli:nmt",
        ],
    },
)
