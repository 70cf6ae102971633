"""The shop as data: layout, catalogue, planogram, cameras and gates; reading, checking and importing it."""
