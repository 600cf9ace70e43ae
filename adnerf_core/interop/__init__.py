"""AD-NeRF as published: its networks, its sampling of rays, its schedule, and its folder layout."""
