"""Person detection per camera and tracking over the whole store."""
