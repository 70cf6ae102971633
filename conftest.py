"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine makes an example slow, not wrong. New examples are looked for at developers' desks, not where a change is judged.
settings.register_profile("aisle", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("aisle")
