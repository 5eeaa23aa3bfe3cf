"""Measuring masks, and finding those that deserve a look."""
