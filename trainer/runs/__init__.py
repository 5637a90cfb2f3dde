"""Commands around a training: which recipe, a trial of the whole path, folds, runs side by side."""
