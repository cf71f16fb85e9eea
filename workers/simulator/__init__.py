"""A provider to develop, test and measure against: the `http` connection's protocol from the other side."""
