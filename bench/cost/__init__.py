"""Measurement of cost: parameters, FLOPs, time and memory."""
