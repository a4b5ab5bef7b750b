"""Ways to damage a file: its bytes, and what is inside, packed again so that lengths and checksums fit."""

import copy
import gzip
import io
import json
import re
import zipfile

HUGE = (b"-1", b"0", b"1e30", b"NaN", b"999999999999", b"1000000000", b"99999999999999999999999", b"1e999", b"3.7")
EVIL = (
    -1, 0, 1e30, float("nan"), float("inf"), 10**9, 10**12, 10**30, True, None, "", "x", "\x1b[2J", "../../etc/passwd",
    [], {}, [[]], "9" * 5000, 2**31, 2**63, -(2**63), 0.5, [1] * 1000, {"$tuple": [1]}, "((.*)*)*!",
)  # fmt: skip


# ---------------------------------------------------------------- bytes
def flipped(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(data, rng):
    return data[: rng.randrange(len(data))]


def doubled(data, rng):
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice((1, 16, 256, 4096)))
    return data[:end] + data[start:end] * rng.choice((1, 2, 100)) + data[end:]


def dropped(data, rng):
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 4, 64, 1024)) :]


def blown_up(data, rng):
    """A number, written out, becomes another."""
    found = list(re.finditer(rb"\d+(\.\d+)?", data))
    if not found:
        return flipped(data, rng)
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(HUGE) + data[place.end() :]


def nested(data, rng):
    start, deep = rng.randrange(len(data) + 1), rng.choice((100, 3000, 100_000))
    left, right = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"<a>", b"</a>"), (b"a.", b"")))
    return data[:start] + left * deep + rng.choice((b"", b"1" + right * deep)) + data[start:]


def integer(data, rng):
    """Four or eight bytes become a number at the border of what they can hold."""
    width, start = rng.choice((4, 8)), rng.randrange(len(data))
    value = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)) % 256**width
    return data[:start] + value.to_bytes(width, rng.choice(("little", "big"))) + data[start + width :]


BYTES = (flipped, cut, doubled, dropped, blown_up, nested, integer)


def damaged(data, rng):
    return rng.choice(BYTES)(data, rng) if data else b"x"


# ---------------------------------------------------------------- formats
def in_json(data, rng):
    """A value, a key or a branch of a JSON text is another."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return damaged(data, rng)
    return json.dumps(changed(content, rng)).encode()


def changed(content, rng):
    """A copy of nested lists and tables, in which something is else."""
    content = copy.deepcopy(content)
    places = list(_places(content))
    for _ in range(rng.choice((1, 1, 1, 3)) if places else 0):
        holder, key = rng.choice(places)
        try:
            value = holder[key]
            action = rng.randrange(6)
            if action == 0:
                del holder[key]
            elif action == 1 and isinstance(value, int | float) and not isinstance(value, bool):
                holder[key] = rng.choice((value + 1, -value, value * 10**9, value / 3))
            elif action == 2:
                other, where = rng.choice(places)
                holder[key] = copy.deepcopy(other[where])
            elif action == 3 and isinstance(value, list):
                value.extend(copy.deepcopy(value) * rng.choice((1, 50)))
            else:
                holder[key] = copy.deepcopy(rng.choice(EVIL))
        except (KeyError, IndexError, OverflowError, TypeError):
            pass  # an earlier change took it away
    return content


def _places(content):
    todo = [content]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])


def in_zip(data, rng):
    """A member is damaged and packed again, or the table of members is not what it was."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {item: archive.read(item) for item in archive.infolist()}
    chosen = rng.choice(list(members))
    members[chosen] = in_npy(members[chosen], rng)
    packing = rng.choice((None, None, None, zipfile.ZIP_DEFLATED))
    if rng.random() < 0.005:
        members[chosen] += b"\0" * (400 << 20)
        packing = zipfile.ZIP_DEFLATED
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for item, content in members.items():
            if item is chosen and rng.random() < 0.1:
                continue
            kind = item.compress_type if packing is None else packing
            archive.writestr(item.filename, content, kind, 1)
    return out.getvalue()


def in_npy(data, rng):
    """The header of an array claims something else; of other files, bytes are damaged."""
    if data[:6] != b"\x93NUMPY" or rng.random() < 0.4:
        return in_json(data, rng) if data[:1] in b"{[" and data else damaged(data, rng)
    length = int.from_bytes(data[8:10], "little")
    header, body = data[10 : 10 + length], data[10 + length :]
    header = damaged(header, rng)[:60_000]
    return data[:8] + len(header).to_bytes(2, "little") + header + body


def in_gzip(data, rng):
    if rng.random() < 0.4:
        return damaged(data, rng)
    content = gzip.decompress(data)
    if rng.random() < 0.005:
        content += b" " * (400 << 20)
    return gzip.compress(in_json(content, rng) if content[:1] in b"{[" else damaged(content, rng), 1)


def in_safetensors(data, rng):
    """The index is another, and its length fits."""
    if rng.random() < 0.4:
        return damaged(data, rng)
    length = int.from_bytes(data[:8], "little")
    index = in_json(data[8 : 8 + length].rstrip(), rng)
    return len(index).to_bytes(8, "little") + index + data[8 + length :]


def in_text(data, rng):
    """A line is repeated, moved or damaged."""
    if rng.random() < 0.5:
        return damaged(data, rng)
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    lines[place] = damaged(lines[place], rng) if rng.random() < 0.6 else lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


