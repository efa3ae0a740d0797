"""Speed of parts compared with other implementations and devices."""
