"""From a trained model to answers: its card, and the predictor behind everything."""
