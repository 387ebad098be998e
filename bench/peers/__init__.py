"""Side by side with peers: the same work in one session, alternating, each in an environment of its own."""
