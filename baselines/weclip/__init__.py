"""WeCLIP: its pseudo labels, its network, and the method that combines them."""
