"""One module for each command of aisle: SUMMARY, EXAMPLE, add_arguments, run."""
