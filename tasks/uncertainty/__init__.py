"""How sure a score is: bootstrap replicates of task scores, and what follows for levels and ranks.

Scoring keeps with each task score its replicates: what the score would have been on other draws of
the instances. Publishing turns them into intervals of task scores, levels and ranks; comparing two
models takes the difference of their replicates, which are of the same draws.
"""
