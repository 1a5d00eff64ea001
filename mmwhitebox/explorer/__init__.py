"""A local page that shows what every layer of a model does to a picture, and the server under it."""
