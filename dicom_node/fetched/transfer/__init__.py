"""Files of a gateway over HTTP: the door that lends them, and the client that fetches them."""
