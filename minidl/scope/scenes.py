"""Six scenes, one lesson each. What they say and ask stands in the page's tables of words."""

from typing import Any

# The settings of each scene that differ from the defaults, and where on the page it plays.
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
