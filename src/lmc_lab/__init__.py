"""Do the solutions that SGD reaches from a shared start lie in one convex region of low loss?"""
