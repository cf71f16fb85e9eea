"""`outdial status`: how things stand, on a terminal."""
