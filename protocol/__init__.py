"""The wire protocol: registry, frames, samples, keys, serial framing."""
