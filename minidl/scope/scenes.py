"""Six scenes, one lesson each. Their texts stand in page/en.json and page/zh.json."""

from typing import Any

# Of each scene: the settings that differ from the defaults, and the tab of the page that it opens.
# "compare": a control and its value in the second of two networks that are trained side by side.
SCENES: tuple[dict[str, Any], ...] = (
    {"name": "healthy", "settings": {}, "place": "network"},
    {"name": "explodes", "settings": {"scale": 2.46}, "place": "network"},
    {"name": "vanishes", "settings": {"scale": 0.4}, "place": "network"},
    {"name": "fast", "settings": {"rate": 1.0}, "place": "fate"},
    {"name": "dead", "settings": {"optimizer": "adam"}, "place": "fate"},
    {
        "name": "cured",
        "settings": {"scale": 2.46},
        "place": "fate",
        "compare": ["body", "batch_norm"],
    },
)
