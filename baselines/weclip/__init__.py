"""WeCLIP: its labels, its network, and the method made of both."""
