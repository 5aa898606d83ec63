"""Deep linear networks on paper: exact solutions, critical points, their kind and surroundings."""
