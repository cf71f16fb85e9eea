"""`outdial up`: everything on one machine, in processes that are kept running."""
