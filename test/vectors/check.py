#!/usr/bin/env python3
"""Derives every vector in this folder again with nothing but Python's standard library.

It shares no code with Keyturn, so it also shows what an implementation in another language has to do.
Prints one line per file; exits with 1 at the first difference.
"""
import hashlib
import json
import pathlib
import struct
import sys

FOLDER = pathlib.Path(__file__).parent


# --- AES-256 and GCM, straight from FIPS 197 and SP 800-38D: slow, for checking only ---


def make_sbox():
    box, p, q = [0] * 256, 1, 1
    while True:
        p = (p ^ (p << 1) ^ (0x11B if p & 0x80 else 0)) & 0xFF
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        x = q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4)
        box[p] = (x ^ 0x63) & 0xFF
        if p == 1:
            break
    box[0] = 0x63
    return box


SBOX = make_sbox()


def double(b):
    return (b << 1) ^ (0x11B if b & 0x80 else 0)


def expand(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = double(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def aes(keys, block):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for rnd in range(1, 15):
        state = [SBOX[b] for b in state]
        state = [state[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if rnd < 14:
            mixed = []
            for c in range(0, 16, 4):
                col = state[c : c + 4]
                every = col[0] ^ col[1] ^ col[2] ^ col[3]
                mixed += [col[i] ^ every ^ double(col[i] ^ col[(i + 1) % 4]) for i in range(4)]
            state = mixed
        state = [a ^ b for a, b in zip(state, keys[rnd])]
    return bytes(state)


def multiply(x, y):
    z = 0
    for i in range(127, -1, -1):
        if y >> i & 1:
            z ^= x
        x = x >> 1 ^ (0xE1 << 120 if x & 1 else 0)
    return z


def padded(data):
    return data + bytes(-len(data) % 16)


def gcm_seal(key, iv, plain, aad):
    """Ciphertext, then the 16-byte tag; iv of 12 bytes."""
    assert len(iv) == 12
    keys = expand(key)
    h = int.from_bytes(aes(keys, bytes(16)), "big")
    out = b""
    for n in range(0, len(plain), 16):
        stream = aes(keys, iv + struct.pack(">I", n // 16 + 2))
        out += bytes(a ^ b for a, b in zip(plain[n : n + 16], stream))
    y = 0
    hashed = padded(aad) + padded(out) + struct.pack(">QQ", len(aad) * 8, len(out) * 8)
    for n in range(0, len(hashed), 16):
        y = multiply(y ^ int.from_bytes(hashed[n : n + 16], "big"), h)
    mask = int.from_bytes(aes(keys, iv + b"\0\0\0\1"), "big")
    return out + (y ^ mask).to_bytes(16, "big")


# --- Keyturn's format (docs/envelope.md) ---


def id_bytes(document):
    """Of a stored document {_id: value}: type byte at 4, the name `_id\\0`, the value, a zero."""
    kind, value = document[4], document[9:-1]
    assert document[5:9] == b"_id\0"
    if kind == 0x02:
        return b"\x02" + value[4:-1]
    if kind == 0x07:
        return b"\x07" + value
    if kind == 0x05:
        subtype, payload = value[4:5], value[5:]
        return b"\x05" + subtype + (payload[4:] if subtype == b"\x02" else payload)
    if kind == 0x09:
        return b"\x09" + value[::-1]
    if kind == 0x10:
        return b"\x12" + struct.pack(">q", struct.unpack("<i", value)[0])
    if kind == 0x12:
        return b"\x12" + value[::-1]
    if kind == 0x01:
        number = struct.unpack("<d", value)[0]
        if number.is_integer() and -(2**63) <= number < 2**63:
            return b"\x12" + struct.pack(">q", int(number))
    return b"\x03" + document


def lp(part):
    part = part.encode("utf-8") if isinstance(part, str) else part
    return struct.pack(">I", len(part)) + part


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def same(what, found, published):
    if found.hex() != published:
        sys.exit(f"{what}: derived {found.hex()}, published {published}")


def read(name):
    return json.loads((FOLDER / name).read_text("utf-8"))


def check_ids():
    ids = read("record-ids.json")["ids"]
    for entry in ids:
        same(entry["name"], id_bytes(bytes.fromhex(entry["document"])), entry["idBytes"])
    return len(ids)


def check_envelopes():
    file = read("envelopes.json")
    place = lp(file["install"]) + lp(file["collection"]) + lp(file["field"])
    kek, dek, plain = (bytes.fromhex(file[name]) for name in ("kek", "dek", "plaintext"))
    version = struct.pack(">I", file["kekVersion"])
    for entry in file["envelopes"]:
        name, envelope = entry["name"], entry["envelope"]
        record = lp(bytes.fromhex(entry["idBytes"]))
        dek_aad = sha(lp("keyturn:dek:1"), place, record, version)
        data_aad = sha(lp("keyturn:data:1"), place, record)
        same(f"{name}: dekAad", dek_aad, entry["dekAad"])
        same(f"{name}: dataAad", data_aad, entry["dataAad"])
        wrapped = gcm_seal(kek, bytes.fromhex(envelope["dek_iv"]), dek, dek_aad)
        same(f"{name}: dek_wrapped", wrapped, envelope["dek_wrapped"])
        sealed = gcm_seal(dek, bytes.fromhex(envelope["iv"]), plain, data_aad)
        same(f"{name}: ciphertext", sealed, envelope["ciphertext"])
    return len(file["envelopes"])


def check_canary():
    file = read("canary.json")
    aad = sha(lp("keyturn:canary:1"), lp(file["install"]), struct.pack(">I", file["kekVersion"]))
    same("canary: aad", aad, file["aad"])
    secret = bytes.fromhex(file["secret"])
    kek, iv = bytes.fromhex(file["kek"]), bytes.fromhex(file["dek_iv"])
    same("canary: dek_wrapped", gcm_seal(kek, iv, secret, aad), file["dek_wrapped"])
    same("canary: digest", sha(secret), file["digest"])
    return 1


if __name__ == "__main__":
    print(f"record-ids.json: {check_ids()} ids agree")
    print(f"envelopes.json: {check_envelopes()} envelopes agree")
    print(f"canary.json: {check_canary()} canary agrees")
