"""From a sealed image to something that runs: on this host, or as a deployment of another tool."""
