"""Benchmarks: lanmail and the real peer, side by side in one run, in interleaved rounds; what counts is the ratio."""
