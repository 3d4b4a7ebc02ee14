"""Random and hostile input for everything that reads what others wrote; `make fuzz` takes longer than `make test`."""
