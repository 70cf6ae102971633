"""What people look at: markers for RViz."""
