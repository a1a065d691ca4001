"""What an order is, what may happen to it, and its persistence."""
