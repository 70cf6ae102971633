"""What goes wrong with bags."""

from __future__ import annotations


class BagError(Exception):
    """A bag cannot be read or made: the message names the file, what was found and what was expected."""
