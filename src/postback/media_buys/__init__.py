"""Media buys: the products on offer, the buys made of them, and the conversions that each buy's packages count."""
