"""CRC32C, the checksum of checkpoint files: of short texts, and of two texts put together."""

_POLYNOMIAL = 0x82F63B78
_OF_A_BYTE = 1 << 23  # x^8; the highest bit is 1, the one below it x


def crc32c(content):
    """Returns the CRC32C of bytes."""
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ _POLYNOMIAL * (checksum & 1)
    return checksum ^ 0xFFFFFFFF


def masked(checksum):
    """Returns a checksum as TensorFlow writes it down: a file can hold checksums itself."""
    return (checksum >> 15 | checksum << 17) + 0xA282EAD8 & 0xFFFFFFFF


def unmasked(written):
    """Returns the checksum that is `masked` like this."""
    rotated = written - 0xA282EAD8 & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def joined(first, second, num_bytes):
    """Returns the CRC32C of two texts put together, given their own.

    That is `first * x^(8 num_bytes) + second`, of polynomials modulo the CRC's, as zlib's
    `crc32_combine` has it.

    Args:
        first, second: ints, the CRC32C of each.
        num_bytes: int, how long the second is.
    """
    shift, power = 1 << 31, _OF_A_BYTE
    while num_bytes:
        if num_bytes & 1:
            shift = _product(shift, power)
        power = _product(power, power)
        num_bytes >>= 1
    return _product(shift, first) ^ second


def _product(one, other):
    result = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            result ^= other
        other = other >> 1 ^ _POLYNOMIAL * (other & 1)
    return result
