"""Reads a program file and runs its test vectors: plain Python, nothing of neuro, no NumPy.

It follows docs/program_format.md, one neuron after another.
"""

import json
import math
import struct
import sys
import zlib
from itertools import product

M = 2**23
LETTERS = {"int8": "b", "uint8": "B", "int16": "h", "uint16": "H"}
LETTERS |= {"int32": "i", "uint32": "I", "int64": "q"}
KINDS = {"input", "lif", "alif", "li", "ternary", "delta", "sigma_delta", "sigma"}
ROUTES = {"dense", "conv", "identity", "sparse"}
FEATURES = {"groups", "dilation", "delays_in", "delays_out"}


def read(data):
    """Return the header and the arrays, each as a flat list."""
    magic, crc, length = struct.unpack_from("<4sIQ", data)
    text = data[16 : 16 + length]
    if magic != b"NEUP" or zlib.crc32(text) != crc:
        raise ValueError("no program file, or a damaged one")
    header, arrays = json.loads(text), {}
    found = header["format"], header["version"][0], header["semantics"]
    if found != ("neuro-program", 1, "loihi-int/1"):
        raise ValueError(f"another format, major version, or semantics: {found}")
    kinds = [({p["kind"]}, KINDS) for p in header["populations"]]
    for c in header["connections"]:
        c["kind"], *features = c["kind"].split("+")
        kinds += [({c["kind"]}, ROUTES), ({*features}, FEATURES)]
    if unknown := set().union(*(found - known for found, known in kinds)):
        raise ValueError(f"unknown: {unknown}")
    for name, a in header["arrays"].items():
        form = f"<{math.prod(a['shape'])}{LETTERS[a['dtype']]}"
        first = 16 + length + a["offset"]
        if zlib.crc32(data[first : first + struct.calcsize(form)]) != a["crc32"]:
            raise ValueError(f"damaged: {name}")
        arrays[name] = struct.unpack_from(form, data, first)
    return header, arrays


def list_synapses(c, k, header, arrays):
    """Yield (target, source, weight) of every synapse of connection k."""
    w, axes = arrays[f"c{k}.weight"], header["arrays"][f"c{k}.weight"]["shape"]
    every = zip(product(*map(range, axes)), w, strict=True)
    if c["kind"] == "sparse":
        places = arrays[f"c{k}.places"]
        yield from zip(places, places[len(w) :], w, strict=False)
    elif c["kind"] == "conv":
        (outputs, inner, kh, kw), (_, high, wide) = axes, c["shape"]
        (sh, sw), (ph, pw) = c["stride"], c["padding"]
        (dh, dw), share = c.get("dilation", (1, 1)), outputs // c.get("groups", 1)
        oh = (high + 2 * ph - (kh - 1) * dh - 1) // sh + 1
        ow = (wide + 2 * pw - (kw - 1) * dw - 1) // sw + 1
        for (out, own, ky, kx), weight in every:
            channel = out // share * inner + own
            for oy, ox in product(range(oh), range(ow)):
                y, x = oy * sh - ph + ky * dh, ox * sw - pw + kx * dw
                if 0 <= y < high and 0 <= x < wide:
                    yield (out * oh + oy) * ow + ox, (channel * high + y) * wide + x, weight
    else:
        yield from ((place[0], place[-1], weight) for place, weight in every)


def decay(state, kept):
    """Return T(state kept): state kept / 4096, rounded towards zero."""
    return abs(state * kept) // 4096 * (1 if state >= 0 else -1)


def step(p, get, s, x, t):
    """Return the spike of one neuron in a tick; s: its states, which change."""
    bias = get("bias_mant") * 2 ** get("bias_exp") if t >= p["bias_after"] else 0
    if "sigma" in s:
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
    elif spike:
        by = 64 * (get("vth") + 1) if get("reset_by") is None else get("reset_by")
        v = get("reset_to") or 0 if p["hard"] else v - by - a
        a = min(a + 64 * get("beta"), M - 1)
        s |= {"wait": p["refractory"]} if "wait" in s else {}
    s |= {"v": v, "a": a}
    return spike


def add_up(incoming, past, t, size):
    """Return the sums of a tick of the neurons of a population."""
    total = [0] * size
    for c, source, synapses in incoming:
        sums = [0] * size
        for target, n, weight, delay in synapses:
            if t >= delay:
                sums[target] += weight * past[t - delay][source].get(n, 0)
        if c["kind"] == "conv":
            sums = [(s + M) % (2 * M) - M for s in sums]
        total = [
            a + math.floor(s * 2.0 ** c["weight_exp"]) for a, s in zip(total, sums, strict=True)
        ]
    return total


def wire(header, arrays):
    """Return for each population its connections: (connection, source, synapses)."""
    names = [p["name"] for p in header["populations"]]
    into = [[] for _ in names]
    for k, c in enumerate(header["connections"]):
        early, late = (arrays.get(f"c{k}.{key}") for key in ("delays_in", "delays_out"))
        synapses = [
            (
                m,
                n,
                w,
                header["delays"][k] + (early[n] if early else 0) + (late[m] if late else 0),
            )
            for m, n, w in list_synapses(c, k, header, arrays)
        ]
        into[names.index(c["target"])].append((c, names.index(c["source"]), synapses))
    return into


def step_all(p, i, arrays, states, sums, t):
    """Return the spikes of population i in a tick, by neuron."""

    def get(field):
        values = arrays.get(f"p{i}.{field}")
        return values and values[n % len(values)]

    spikes = {}
    for n, s in enumerate(states):
        if value := step(p, get, s, sums[n], t):
            spikes[n] = value
    return spikes


def list_rows(values):
    """Return spikes by (tick, population): the value of each neuron that fired."""
    rows = {}
    for t, i, n, value in zip(*[iter(values)] * 4, strict=True):
        rows.setdefault((t, i), {})[n] = value
    return rows


def run(header, arrays, vector):
    """Yield where a run differs from a test vector."""
    pops, into, past = header["populations"], wire(header, arrays), []
    stored = [{} for _ in pops]  # states by population and name
    for key, values in arrays.items():
        if key.startswith(f"v{vector}.p"):
            stored[int(key.split(".")[1][1:])][key.split(".")[2]] = values
    states = [
        [dict.fromkeys(s, 0) for _ in range(math.prod(p["shape"]))]
        for p, s in zip(pops, stored, strict=True)
    ]
    events, spikes = (list_rows(arrays[f"v{vector}.{k}"]) for k in ("events", "spikes"))
    for t in range(header["vectors"][vector]["ticks"]):
        past.append([events.get((t, i), {}) for i in range(len(pops))])
        for i in header["order"]:
            p, size, every = pops[i], len(states[i]), pops[i]["reset_interval"]
            if p["kind"] == "input":
                continue
            if every and t % every == p["reset_offset"] % every:
                states[i] = [dict.fromkeys(s, 0) for s in states[i]]
            sums = add_up(into[i], past, t, size)
            past[t][i] = step_all(p, i, arrays, states[i], sums, t)
            if past[t][i] != spikes.get((t, i), {}):
                yield f"tick {t}: spikes of {p['name']}"
            for key, values in stored[i].items():
                if [s[key] for s in states[i]] != [*values[t * size : (t + 1) * size]]:
                    yield f"tick {t}: {key} of {p['name']}"


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        header, arrays = read(file.read())
    wrong = [line for i in range(len(header["vectors"])) for line in run(header, arrays, i)]
    sys.exit("\n".join(wrong) or None)
