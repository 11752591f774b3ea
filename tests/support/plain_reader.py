"""Reads a program file and runs its test vectors: plain Python, nothing of neuro, no NumPy.

It follows docs/program_format.md line by line, one neuron after another.
"""

import json
import math
import struct
import sys
import zlib

M = 2**23
LETTERS = {"int8": "b", "uint8": "B", "int16": "h", "uint16": "H"}
LETTERS |= {"int32": "i", "uint32": "I", "int64": "q"}
KINDS = {"input", "lif", "alif", "li", "ternary", "delta", "sigma_delta", "sigma"}
STATES = {"delta", "sigma_delta", "sigma"}


def read(data):
    """Return the header and the arrays, each as a flat list."""
    magic, crc, length = struct.unpack_from("<4sIQ", data)
    text = data[16 : 16 + length]
    if magic != b"NEUP" or zlib.crc32(text) != crc:
        raise ValueError("no program file, or a damaged one")
    header = json.loads(text)
    known = {p["kind"] for p in header["populations"]} <= KINDS
    if header["version"][0] != 1 or header["semantics"] != "loihi-int/1" or not known:
        raise ValueError("another major version, or another kind")
    arrays = {}
    for name, a in header["arrays"].items():
        form = f"<{math.prod(a['shape'])}{LETTERS[a['dtype']]}"
        first = 16 + length + a["offset"]
        if zlib.crc32(data[first : first + struct.calcsize(form)]) != a["crc32"]:
            raise ValueError(f"damaged: {name}")
        arrays[name] = list(struct.unpack_from(form, data, first))
    return header, arrays


def decay(state, kept):
    """Return T(state kept): state kept / 4096, rounded towards zero."""
    return abs(state * kept) // 4096 * (1 if state >= 0 else -1)


def list_synapses(c, w, places):
    """Yield (target, source, weight) of every synapse."""
    if c["kind"] == "identity":
        yield from ((n, n, weight) for n, weight in enumerate(w))
    elif c["kind"] == "sparse":
        yield from zip(places[: len(w)], places[len(w) :], w, strict=True)
    elif c["kind"] == "dense":
        columns = c["columns"]
        yield from ((i // columns, i % columns, weight) for i, weight in enumerate(w))
    elif c["kind"] == "conv":
        (_, inner, kh, kw), (_, height, width) = c["kernel"], c["shape"]
        (sh, sw), (ph, pw) = c["stride"], c["padding"]
        oh, ow = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
        for i, weight in enumerate(w):
            out, ci, ky, kx = i // kw // kh // inner, i // kw // kh % inner, i // kw % kh, i % kw
            for oy in range(oh):
                for ox in range(ow):
                    y, x = oy * sh - ph + ky, ox * sw - pw + kx
                    if 0 <= y < height and 0 <= x < width:
                        yield (out * oh + oy) * ow + ox, (ci * height + y) * width + x, weight
    else:
        raise ValueError(f"unknown kind {c['kind']}")


def step(p, get, s, x, t):
    """Return the spike of one neuron in a tick; s: its states, which change."""
    bias = get("bias_mant") * 2 ** get("bias_exp") if t >= p["bias_after"] else 0
    if p["kind"] in STATES:
        s["sigma"] += x if p["kind"] != "delta" else 0
        if p["kind"] == "sigma":
            return 0
        y = x * 2 ** (p["spike_exp"] + p["state_exp"])
        if p["kind"] == "sigma_delta":
            y = max(s["sigma"] + bias, 0) if p["relu"] else s["sigma"] + bias
        d = y - s["act"] + s["residue"]
        s["error"] += d if p["cumulative"] else 0
        sent = d if abs(s["error"] if p["cumulative"] else d) >= get("vth") else 0
        s |= {"act": y, "residue": d - sent, "error": 0 if sent else s["error"]}
        return sent // 2 ** p["state_exp"]  # rounded down
    u = decay(s["u"], 4095 - get("du")) + 64 * x
    s["u"] = u = u - 2 * M if u > M else u + 2 * M if u <= -M else u
    v = max(min(decay(s["v"], 4096 - get("dv")) + u + bias, M - 1), 1 - M)
    if p["kind"] == "li":
        s["v"] = v
        return 0
    a = decay(s["a"], 4096 - get("da"))
    spike = int(v > 64 * get("vth") + a)
    if p["kind"] == "ternary":
        spike -= v < 64 * get("vth_low")
    if s.get("wait"):
        spike, v = 0, s["v"]
        s["wait"] -= 1
    if spike:
        by = 64 * (get("vth") + 1) if get("reset_by") is None else get("reset_by")
        v = get("reset_to") or 0 if p["hard"] else v - by - a
        a = min(a + 64 * get("beta"), M - 1)
        if p["refractory"]:
            s["wait"] = p["refractory"]
    s |= {"v": v, "a": a}
    return spike


def run(header, arrays, vector):
    """Yield what a test vector says that a run does not show."""
    pops, name = header["populations"], f"v{vector}"
    sizes = [math.prod(p["shape"]) for p in pops]
    names = {p["name"]: i for i, p in enumerate(pops)}
    into = {i: [] for i in range(len(pops))}
    for k, c in enumerate(header["connections"]):
        shape = header["arrays"][f"c{k}.weight"]["shape"]
        c |= {"columns": shape[-1], "kernel": shape, "delay": header["delays"][k]}
        synapses = [*list_synapses(c, arrays[f"c{k}.weight"], arrays.get(f"c{k}.places"))]
        into[names[c["target"]]].append((c, names[c["source"]], synapses))
    kept = [k.split(".")[2] for k in arrays if k.startswith(f"{name}.p")]
    rest = [
        {s: 0 for s in dict.fromkeys(kept) if f"{name}.p{i}.{s}" in arrays}
        for i in range(len(pops))
    ]
    states = [[dict(rest[i]) for _ in range(n)] for i, n in enumerate(sizes)]
    rows = {
        key: [tuple(arrays[f"{name}.{key}"][i : i + 4]) for i in range(0, n, 4)]
        for key in ("events", "spikes")
        for n in [len(arrays[f"{name}.{key}"])]
    }
    past, found = [], []
    for t in range(header["vectors"][vector]["ticks"]):
        past.append([dict() for _ in pops])
        for tick, i, n, value in rows["events"]:
            if tick == t:
                past[t][i][n] = value
        for i in header["order"]:
            p, every = pops[i], pops[i]["reset_interval"]
            if p["kind"] == "input":
                continue
            if every and t % every == p["reset_offset"] % every:
                states[i] = [dict(rest[i]) for _ in range(sizes[i])]
            x = add_up(into[i], past, t, sizes[i])
            for n, s in enumerate(states[i]):

                def get(field, i=i, n=n):
                    values = arrays.get(f"p{i}.{field}")
                    return values and values[n % len(values)]

                if value := step(p, get, s, x[n], t):
                    past[t][i][n] = value
                    found.append((t, i, n, value))
            for key in rest[i]:
                expected = arrays[f"{name}.p{i}.{key}"][t * sizes[i] : (t + 1) * sizes[i]]
                if [s[key] for s in states[i]] != expected:
                    yield f"tick {t}: {key} of {p['name']}"
    if sorted(found) != sorted(rows["spikes"]):
        yield "spikes"


def add_up(incoming, past, t, size):
    """Return the sums of a tick of the neurons of a population."""
    total = [0] * size
    for c, source, synapses in incoming:
        sums = [0] * size
        fired = past[t - c["delay"]][source] if t >= c["delay"] else {}
        for target, n, weight in synapses if fired else ():
            sums[target] += weight * fired.get(n, 0)
        if c["kind"] == "conv":
            sums = [(s + M) % (2 * M) - M for s in sums]
        total = [a + math.floor(s * 2 ** c["weight_exp"]) for a, s in zip(total, sums, strict=True)]
    return total


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        header, arrays = read(file.read())
    wrong = [line for i in range(len(header["vectors"])) for line in run(header, arrays, i)]
    sys.exit("\n".join(wrong) or None)
