"""A program for the tests of the live door: the standard library alone, nothing of marlspec.

    python live.py BEHAVIOUR [TRANSCRIPT]

BEHAVIOUR is a function below, called with a request's arguments, or a fault in following the protocol. Every line that
comes in or goes out is copied to the file TRANSCRIPT; hanging_child writes the ids of its children there.
"""

import json
import math
import os
import random
import sys
import time


def rows(argument):
    return argument["data"]


def mixer_total(hello, utilities, state):
    return [sum(row) for row in rows(utilities)]


def mixer_falling(hello, utilities, state):
    """The last utility counts negatively where the first feature of the state is positive."""
    return [sum(q) - (2 * q[-1] if z[0] > 0 else 0) for q, z in zip(rows(utilities), rows(state), strict=True)]


def mixer_array(hello, utilities, state):
    total = [sum(row) for row in rows(utilities)]
    return {"dtype": "float32", "shape": [len(total)], "data": total}


def mixer_texts(hello, utilities, state):
    return [repr(float(sum(row))) for row in rows(utilities)]


def mixer_scaled(hello, utilities, state):
    return [hello["settings"]["scale"] * sum(row) for row in rows(utilities)]


def mixer_nan(hello, utilities, state):
    return ["nan" if sum(row) > 3 else sum(row) for row in rows(utilities)]


def mixer_null(hello, utilities, state):
    return [None for row in rows(utilities)]


def mixer_words(hello, utilities, state):
    return ["one" for row in rows(utilities)]


def mixer_short(hello, utilities, state):
    return [sum(row) for row in rows(utilities)][1:]


def mixer_seed(hello, utilities, state):
    return [float(hello["seed"]) for _ in rows(utilities)]


def joint_total(hello, utilities, actions, state):
    return [
        sum(q[a] for q, a in zip(row, chosen, strict=True))
        for row, chosen in zip(rows(utilities), rows(actions), strict=True)
    ]


def q_learning(hello, q, s, a, r, next_s, terminated, alpha, gamma):
    table = [list(row) for row in rows(q)]
    following = 0 if terminated else max(table[next_s])
    table[s][a] += alpha * (r + gamma * following - table[s][a])
    return table


def q_learning_past_the_end(hello, q, s, a, r, next_s, terminated, alpha, gamma):
    return q_learning(hello, q, s, a, r, next_s, False, alpha, gamma)


def central(hello, q, s, a, r, next_s, terminated, alpha, gamma):
    def flat(value):
        return max(map(flat, value)) if isinstance(value, list) else value

    table = json.loads(json.dumps(rows(q)))
    following = 0 if terminated else flat(table[next_s])
    inner = table[s]
    for own in rows(a)[:-1]:
        inner = inner[own]
    last = rows(a)[-1]
    inner[last] += alpha * (sum(rows(r)) + gamma * following - inner[last])
    return table


def backup(hello, transitions, rewards, terminal, gamma, q):
    values = [0 if ends else max(own) for own, ends in zip(rows(q), rows(terminal), strict=True)]
    return [
        [
            sum(p * (r + gamma * v) for p, r, v in zip(chances, gains, values, strict=True))
            for chances, gains in zip(*state, strict=True)
        ]
        for state in zip(rows(transitions), rows(rewards), strict=True)
    ]


def evaluator(hello, transitions, rewards, terminal, policy, gamma):
    """Values by iteration, for one agent."""
    (own,), (gains,) = policy, rows(rewards)
    values = [0.0] * len(rows(terminal))
    for _ in range(3000):
        values = [
            0.0
            if rows(terminal)[s]
            else sum(
                pi * p * (gains[s][a][k] + gamma * values[k])
                for a, pi in enumerate(rows(own)[s])
                for k, p in enumerate(rows(transitions)[s][a])
            )
            for s in range(len(values))
        ]
    return [values]


def gains_of(payoffs, profile):
    """What each agent gets now and what it could get at most, of two agents."""
    first, second = rows(payoffs)
    x, y = rows(profile[0]), rows(profile[1])
    rows_of_first = [sum(q * u for q, u in zip(y, line, strict=True)) for line in first]
    columns = [sum(p * line[k] for p, line in zip(x, second, strict=True)) for k in range(len(y))]
    return (
        max(rows_of_first) - sum(p * g for p, g in zip(x, rows_of_first, strict=True)),
        max(columns) - sum(q * g for q, g in zip(y, columns, strict=True)),
    )


def nash_check(hello, payoffs, profile, epsilon):
    return all(gain <= epsilon for gain in gains_of(payoffs, profile))


def pareto_check(hello, payoffs, action):
    def at(table, i, j):
        return [own[i][j] for own in table]

    table = rows(payoffs)
    mine = at(table, *rows(action))
    others = [at(table, i, j) for i in range(len(table[0])) for j in range(len(table[0][0]))]
    return not any(all(o >= m for o, m in zip(other, mine, strict=True)) and other != mine for other in others)


def solver_zero_sum(hello, payoffs):
    """Fictitious play is not exact: an equilibrium in pure strategies, or what it finds."""
    first, second = rows(payoffs)
    counts = [[0] * len(first), [0] * len(first[0])]
    i = j = 0
    for _ in range(3000):
        counts[0][i] += 1
        counts[1][j] += 1
        gains = [sum(c * u for c, u in zip(counts[1], line, strict=True)) for line in first]
        losses = [sum(c * line[k] for c, line in zip(counts[0], second, strict=True)) for k in range(len(counts[1]))]
        i, j = gains.index(max(gains)), losses.index(max(losses))
    return [[count / 3000 for count in own] for own in counts]


def td_target(hello, rewards, terminated, truncated, next_values, online_values, available, gamma):
    def best(values, free):
        return max(value for value, is_free in zip(values, free, strict=True) if is_free)

    return [
        [r + (0 if ends else gamma * best(*own)) for r, *own in zip(rs, values, frees, strict=True)]
        for rs, ends, values, frees in zip(*map(rows, (rewards, terminated, next_values, available)), strict=True)
    ]


def td_target_past_the_end(hello, rewards, terminated, *more):
    return td_target(hello, rewards, {"data": [False] * len(rows(terminated))}, *more)


def lambda_return(hello, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
    def row(rs, follows, ends, cuts, kept):
        steps, returns = [step for step in zip(rs, follows, ends, cuts, kept, strict=True) if step[-1]], []
        for k, (r, v, end, cut, _) in enumerate(reversed(steps)):
            onward = v if cut or k == 0 else (1 - lam) * v + lam * returns[-1]
            returns.append(r if end else r + gamma * onward)
        return returns[::-1] + [0.0] * (len(rs) - len(steps))

    return [row(*own) for own in zip(*map(rows, (rewards, next_values, terminated, truncated, mask)), strict=True)]


def advantage(hello, q, policy, actions):
    return [
        [own[a] - sum(p * x for p, x in zip(pi, own, strict=True)) for own, pi, a in zip(*row, strict=True)]
        for row in zip(rows(q), rows(policy), rows(actions), strict=True)
    ]


def softmax(hello, logits, available):
    def one(own, free):
        top = max(x for x, is_free in zip(own, free, strict=True) if is_free)
        weights = [math.exp(x - top) if is_free else 0.0 for x, is_free in zip(own, free, strict=True)]
        return [weight / sum(weights) for weight in weights]

    return [list(map(one, *agents)) for agents in zip(rows(logits), rows(available), strict=True)]


def policy_loss(hello, logits, actions, advantages, mask):
    """The loss and its gradient in the logits."""
    pi = softmax(hello, logits, {"data": [[[True] * len(own) for own in row] for row in rows(logits)]})
    number = sum(rows(mask)) * len(rows(actions)[0])
    loss, gradient = 0.0, []
    for probabilities, chosen, gains, keep in zip(pi, rows(actions), rows(advantages), rows(mask), strict=True):
        loss -= sum(keep * g * math.log(p[a]) / number for p, a, g in zip(probabilities, chosen, gains, strict=True))
        gradient.append(
            [
                [-keep * g * ((k == a) - p) / number for k, p in enumerate(own)]
                for own, a, g in zip(probabilities, chosen, gains, strict=True)
            ]
        )
    return [loss, gradient]


def policy_loss_alone(hello, *arguments):
    return policy_loss(hello, *arguments)[0]


def epsilon_greedy(hello, utilities, available, epsilon):
    """Actions, drawn from one generator for each hello."""
    generator = hello.setdefault("generator", random.Random(hello["seed"]))

    def one(own, free):
        allowed = [a for a, is_free in enumerate(free) if is_free]
        return generator.choice(allowed) if generator.random() < epsilon else max(allowed, key=lambda a: own[a])

    return [list(map(one, *agents)) for agents in zip(rows(utilities), rows(available), strict=True)]


def epsilon_greedy_probabilities(hello, utilities, available, epsilon):
    def one(own, free):
        number, best = sum(free), max((x, -a) for a, x in enumerate(own) if free[a])
        return [free[a] * epsilon / number + (1 - epsilon) * (-a == best[1]) for a in range(len(own))]

    return [list(map(one, *agents)) for agents in zip(rows(utilities), rows(available), strict=True)]


ATTRIBUTES = {
    "epsilon_greedy_probabilities": {"output": "probabilities"},
    "joint_total": {"min_slope": 1},
    "evaluator": {"agents": [1]},
    "nash_check": {"agents": [2]},
    "pareto_check": {"agents": [2]},
    "solver_zero_sum": {"domain": "zero_sum", "epsilon": 0.5},
    "attribute_arrays": {"arrays": "torch"},
    "attribute_list": [1],
}


def answer(behaviour, hellos, request):
    """The answer to one request, or None for bye."""
    if request["type"] == "bye":
        return None
    reply = {"type": "ready", "id": request["id"], "protocol": "marlspec.live/1"}
    if request["type"] == "hello":
        hellos[request["id"]] = request
        if behaviour == "refusing":
            return {**reply, "type": "error", "message": f"no {request['role']} here", "details": "line 1\nline 2"}
        if behaviour == "foreign":
            reply["protocol"] = "marlspec.live/9"
        if behaviour in ATTRIBUTES:
            reply["attributes"] = ATTRIBUTES[behaviour]
        return reply
    if behaviour == "raising":
        return {"type": "error", "id": request["id"], "message": "weights are missing"}
    function = globals()[behaviour]
    value = function(hellos[request["target"]], *request["arguments"])
    return {"type": "result", "id": request["id"], "value": value}


def say(line, transcript):
    if transcript:
        with open(transcript, "a") as file:
            file.write(line + "\n")
    print(line, flush=True)


def misbehave(behaviour, request, pids):
    """Faults in following the protocol; each of them at a call, so that hello succeeds."""
    reply = json.dumps({"type": "result", "id": request["id"], "value": [0.0] * 5})
    if behaviour == "early_exit":
        print("out of memory", file=sys.stderr)
        sys.exit(3)
    if behaviour == "killed":
        os.abort()
    if behaviour == "hanging":
        print("thinking", file=sys.stderr, flush=True)
        time.sleep(600)
    if behaviour == "hanging_child":
        import subprocess

        child = subprocess.Popen(["sleep", "600"])
        with open(pids, "a") as file:
            file.write(f"{child.pid}\n")
        time.sleep(600)
    lines = {
        "garbage": "loading model ...",
        "no_object": "[1, 2]",
        "nan_token": f'{{"type": "result", "id": {request["id"]}, "value": [NaN]}}',
        "wrong_id": json.dumps({"type": "result", "id": 12345, "value": [0.0]}),
        "wrong_type": json.dumps({"type": "ready", "id": request["id"]}),
        "no_newline": reply,
    }
    if behaviour == "no_newline":
        sys.stdout.write(reply)
        sys.exit(0)
    if behaviour == "twice":
        print(reply, flush=True)
        print(reply, flush=True)
    else:
        print(lines[behaviour], flush=True)


FAULTS = ("early_exit", "killed", "hanging", "hanging_child", "garbage", "no_object", "nan_token", "wrong_id")
FAULTS += ("wrong_type", "no_newline", "twice")


def main():
    behaviour, file = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    transcript = "" if behaviour == "hanging_child" else file
    if behaviour == "never_starts":
        sys.exit("no module named jax")
    hellos = {}
    for line in sys.stdin:
        if transcript:
            with open(transcript, "a") as file:
                file.write(line)
        request = json.loads(line)
        if behaviour in FAULTS and request["type"] == "call":
            misbehave(behaviour, request, file)
            continue
        reply = answer(behaviour, hellos, request)
        if reply is None:
            if behaviour == "mixer_stubborn":
                time.sleep(600)
            return
        say(json.dumps(reply), transcript)


def mixer_stubborn(hello, utilities, state):
    return mixer_total(hello, utilities, state)


if __name__ == "__main__":
    main()
