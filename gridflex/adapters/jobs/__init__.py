"""Jobs, their packages, the plans for them and the orders over them."""
