"""Training scenes of which everything is known: ground, change, sensors, and what hides them."""
