"""How near generated images are to real ones: distances of their codes; sheets of them."""
