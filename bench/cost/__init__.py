"""What everything costs: parameters, FLOPs, time and memory."""
