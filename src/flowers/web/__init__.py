"""The page and the REST API: a predictor in, a web application out. Never imports TensorFlow."""
