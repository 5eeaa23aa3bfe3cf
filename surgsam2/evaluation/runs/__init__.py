"""The runs of an evaluation: models, trivial baselines, and predictions that already exist."""
