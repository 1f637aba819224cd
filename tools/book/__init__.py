"""What makes the book: chapters are run, then Sphinx builds them in English and in Chinese.

Read in this order: `cells` (a chapter as a notebook), `execute` (runs every chapter once),
`values` and `source` (the two roles that a chapter uses), then what the pages need: `math`,
`search`, `reference`, `gallery`, `scope`. `docs/conf.py` puts them together.
"""
