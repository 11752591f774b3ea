"""A configuration whose language model learns its two authors in a second."""

from dataclasses import replace

from tasks.attribution.config import AttributionConfig, tiny


def small_attribution() -> AttributionConfig:
    return replace(
        tiny(),
        **{"stack": "mlgru", "width": 24, "hidden": 24, "heads": 2, "batch": 20},
        **{"vocabulary": 6, "tokens": 24, "protected": 2, "gamma": 3.0, "probe_width": 8},
        **{"documents": 400, "held_out": 60, "train": 60, "val": 20, "test": 30},
        **{"composed": 20, "outside": 10, "lm_lr": 2e-2, "lm_epochs": 3, "epochs": 2},
    )
