"""A sound level meter: weighting in integers, levels, percentiles, bands, quality of the stream."""
