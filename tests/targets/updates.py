"""Q-learning's update, right and with values past the end, for the tests of the survey."""


def right():
    def update(q, s, a, r, next_s, terminated, alpha, gamma):
        q = q.copy()
        q[s, a] += alpha * (r + (0.0 if terminated else gamma * q[next_s].max()) - q[s, a])
        return q

    return update


def past_the_end():
    function = right()
    return lambda q, s, a, r, next_s, terminated, alpha, gamma: function(q, s, a, r, next_s, False, alpha, gamma)
