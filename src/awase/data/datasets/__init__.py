"""The data sets that need no download: their rows, their samples, and what can be known about them beforehand."""
