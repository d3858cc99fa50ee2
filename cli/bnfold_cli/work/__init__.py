"""What the commands do, apart from how they are called and how their results look; heavy imports stay in functions."""
