"""Many photos to a table: one streaming pipeline, on this machine or on a Ray cluster."""
