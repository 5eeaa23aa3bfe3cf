"""The steps of a tracked frame on NVIDIA GPUs, with as few waits for the host as can be.

`CudaBackend` replays each step as a CUDA graph; frames are copied to the device and encoded on a
stream of their own; masks come back as bits.
"""
