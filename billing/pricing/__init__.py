"""Money and prices: nano-dollars, rates, and the charge for usage."""
