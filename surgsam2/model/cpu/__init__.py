"""The network's steps on the CPU, with less arithmetic and faster matrix products.

The functions take sam2's own modules, read their weights and return the modules' results,
up to rounding. `surgsam2.model.cpu.backend.CpuBackend` puts them together.
"""
