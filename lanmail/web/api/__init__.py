"""The HTTP API: POST /api/v1/METHOD with JSON. `frame` is what all methods share; a file for each noun has its
methods."""
