"""What the article says about exploding gradients (C1 ...), and some remedies beyond it.

A file for each. Every remedy is judged on the same two regimes, A and B of `lab.cnn`.
"""
