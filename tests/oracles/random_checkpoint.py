"""The weights of lab/random_checkpoint.ts, number for number, in NumPy."""
import numpy as np

SMALL, BYTE_SUM = 0.1, np.sqrt((256.0 ** 2 - 1) / 3)


def mix(x):
    """MurmurHash3's 32-bit finaliser on arrays of uint32."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ (x >> np.uint32(13))
    x = x * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def tensor_key(seed, name):
    hash = int(mix(np.array([(seed + 0x811C9DC5) & 0xFFFFFFFF], np.uint32))[0])
    for byte in name.encode():
        hash = ((hash ^ byte) * 0x01000193) & 0xFFFFFFFF
    return hash


def random_weights(seed, name, shape, deviation=0.02):
    """A tensor in float32, as the generator gives it before it is rounded to the file's dtype."""
    norm = name.endswith("norm.weight")
    unit = (SMALL if norm or name.endswith(".bias") else deviation) / BYTE_SUM
    values = ((1.0 if norm else 0.0) + (np.arange(1021) - 510) * unit).astype(np.float32)
    size = int(np.prod(shape))
    weights = np.empty(size, np.float32)
    for start in range(0, size, 1 << 22):
        index = np.arange(start, min(size, start + (1 << 22)), dtype=np.uint32)
        bits = mix(np.uint32(tensor_key(seed, name)) + index * np.uint32(0x9E3779B1))
        weights[start:start + len(index)] = values[(bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24)]
    return weights.reshape(shape)
