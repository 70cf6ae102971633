"""Finding people in images and following them through the whole store."""
