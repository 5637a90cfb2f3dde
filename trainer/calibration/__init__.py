"""How certain a model's results are, measured on patients that no member learnt from."""
