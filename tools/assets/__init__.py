"""How the weights, the pictures and the people were made."""
