"""Networks that learn: pairs, twins, triplets, distillation."""
