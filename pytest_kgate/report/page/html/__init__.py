"""Records as one HTML page that needs no network: what the race looked like, gate by gate."""
