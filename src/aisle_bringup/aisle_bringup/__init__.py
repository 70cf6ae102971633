"""The graph as data, the processes that run it, and the aisle command."""
