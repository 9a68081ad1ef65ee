"""Tests; tqdm is told before it is imported that nobody watches its bars."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")
