"""Stores for one machine, carried by wheels and kept under a home: the default where no store is given by URL."""
