"""Training: data sets of people, pairs and batches, Siamese twins, triplets, distillation, baselines.

datasets ─► pairs ─┬─► siamese ─► siamese_training ─► transfer_training
                   └─► triplets ─► triplet_training
selection ─► prepare ─► clean          photos become faces to learn from
crops ─► distillation ─► folding       a small network learns from a large one
augmentation, harden, checkpoints, prefetch, baselines   shared by several of them
"""
